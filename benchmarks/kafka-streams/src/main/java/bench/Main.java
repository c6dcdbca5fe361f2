package bench;

import java.io.IOException;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/** Kafka Streams, exactly once: consume, decode, check, encode, produce until stopped. */
public final class Main {
  private Main() {}

  public static void main(String[] arguments) throws IOException {
    Assignment task = Assignment.fromEnvironment();
    Schema schema = new Schema.Parser().parse(task.schemaPath().toFile());
    FramedAvroSerde bars = new FramedAvroSerde(schema, task.schemaId());

    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(task.inputTopic(), Consumed.with(Serdes.ByteArray(), bars))
        .filter(new SoundBar(schema))
        .to(task.outputTopic(), Produced.with(Serdes.ByteArray(), bars));

    KafkaStreams streams = new KafkaStreams(builder.build(), settings(task));
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }

  private static Properties settings(Assignment task) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, task.group());
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, task.bootstrap());
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, task.threads());
    settings.put(StreamsConfig.STATE_DIR_CONFIG, task.workFolder().toString());
    // Polling and buffering stay at the defaults of Kafka Streams, 1,000 records each. The consumer fetches
    // 1 MB a partition, about 15,000 bars ahead, close to what queued.min.messages allows the others.
    // librdkafka sends batches of up to 1 MB; Kafka's 16 KB would cost a request per 250 bars.
    settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 1_000_000);
    settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 5);
    settings.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 64 << 20);
    return settings;
  }
}
