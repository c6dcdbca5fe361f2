package bench;

import java.nio.file.Path;

/** What this program is told, in the same environment variables as the Python programs. */
record Assignment(
    String bootstrap,
    String inputTopic,
    String outputTopic,
    String group,
    Path schemaPath,
    int schemaId,
    Path workFolder,
    int threads) {

  static Assignment fromEnvironment() {
    return new Assignment(
        read("BOOTSTRAP"),
        read("INPUT_TOPIC"),
        read("OUTPUT_TOPIC"),
        read("GROUP"),
        Path.of(read("SCHEMA_PATH")),
        Integer.parseInt(read("SCHEMA_ID")),
        Path.of(read("WORK_FOLDER")),
        Integer.parseInt(read("VARIANT")));
  }

  private static String read(String name) {
    String value = System.getenv("BENCH_" + name);
    if (value == null) {
      throw new IllegalStateException("BENCH_" + name + " is not set");
    }
    return value;
  }
}
