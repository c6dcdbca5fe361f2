package bench;

import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.streams.kstream.Predicate;

/** A bar is sound if it is finite and positive and its high and low enclose its open and close. */
final class SoundBar implements Predicate<byte[], GenericRecord> {
  private final int open;
  private final int high;
  private final int low;
  private final int close;
  private final int volume;

  SoundBar(Schema schema) {
    open = schema.getField("open").pos();
    high = schema.getField("high").pos();
    low = schema.getField("low").pos();
    close = schema.getField("close").pos();
    volume = schema.getField("volume").pos();
  }

  @Override
  public boolean test(byte[] key, GenericRecord bar) {
    double o = (Double) bar.get(open);
    double h = (Double) bar.get(high);
    double l = (Double) bar.get(low);
    double c = (Double) bar.get(close);
    double v = (Double) bar.get(volume);
    return Double.isFinite(o + h + l + c + v)
        && h >= l && l > 0
        && h >= o && h >= c
        && l <= o && l <= c
        && v >= 0;
  }
}
