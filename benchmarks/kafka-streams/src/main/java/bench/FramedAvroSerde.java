package bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serializer;

/**
 * Generic records in the Confluent wire format: magic 0, the schema id as a big-endian int, the Avro body.
 *
 * <p>Kafka Streams shares one instance among its threads, so what is reused is kept per thread.
 */
final class FramedAvroSerde implements Serde<GenericRecord> {
  private static final int HEADER_BYTES = 5;

  private final Schema schema;
  private final byte[] header;
  private final ThreadLocal<Reading> reading = ThreadLocal.withInitial(Reading::new);
  private final ThreadLocal<Writing> writing = ThreadLocal.withInitial(Writing::new);

  FramedAvroSerde(Schema schema, int schemaId) {
    this.schema = schema;
    this.header = ByteBuffer.allocate(HEADER_BYTES).put((byte) 0).putInt(schemaId).array();
  }

  @Override
  public Deserializer<GenericRecord> deserializer() {
    return (topic, value) -> reading.get().read(value);
  }

  @Override
  public Serializer<GenericRecord> serializer() {
    return (topic, bar) -> writing.get().write(bar);
  }

  private final class Reading {
    private final GenericDatumReader<GenericRecord> reader = new GenericDatumReader<>(schema);
    private BinaryDecoder decoder;

    GenericRecord read(byte[] value) {
      for (int i = 0; i < HEADER_BYTES; i++) {
        if (value[i] != header[i]) {
          throw new IllegalArgumentException("unexpected header");
        }
      }
      int length = value.length - HEADER_BYTES;
      decoder = DecoderFactory.get().binaryDecoder(value, HEADER_BYTES, length, decoder);
      try {
        return reader.read(null, decoder);
      } catch (IOException problem) {
        throw new UncheckedIOException(problem);
      }
    }
  }

  private final class Writing {
    private final GenericDatumWriter<GenericRecord> writer = new GenericDatumWriter<>(schema);
    private final ByteArrayOutputStream buffer = new ByteArrayOutputStream(128);
    private BinaryEncoder encoder;

    byte[] write(GenericRecord bar) {
      buffer.reset();
      buffer.writeBytes(header);
      encoder = EncoderFactory.get().binaryEncoder(buffer, encoder);
      try {
        writer.write(bar, encoder);
        encoder.flush();
      } catch (IOException problem) {
        throw new UncheckedIOException(problem);
      }
      return buffer.toByteArray();
    }
  }
}
