/* libFuzzer on YAML: any bytes as a file of parameters. See tests/fuzz.sh. */
#include "config.h"
#include <stdlib.h>

struct params {
#include "config_struct.inc"
#include "test_params.def"
#include "config_undef.inc"
};
#define CONFIG_OWNER struct params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "test_params.def"
#include "config_undef.inc"
};
static const struct config_set set = CONFIG_SET("segment", struct params, rows);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Every node is looked at, as the readers of cycles do. */
static int walk(const struct config_node *node) {
  char place[256];
  int seen = config_scalar(node) != NULL;
  if (node) config_place(node, -1, place, sizeof place);
  for (int i = 0; i < config_count(node); i++) {
    if (config_kind(node) == CONFIG_MAPPING && !config_key(node, i)) abort();
    seen += walk(config_item(node, i));
  }
  return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  struct config_file *file;
  struct params params;
  status_clear();
  if (config_defaults(&set, &params) != STATUS_OK) abort();
  if (config_file_parse("f.yaml", (const char *)data, (int64_t)bytes, &file) == STATUS_OK) {
    walk(config_root(file));
    config_assign_mapping(file, config_get(config_root(file), "segment"), &set, &params);
    config_assign_mapping(file, config_root(file), &set, &params);
    enum status status = config_errors_told(file);
    if (status != STATUS_OK && !*status_text()) abort();
    if (!(params.classes >= 2 && params.classes <= 16)) abort();
    config_file_close(&file);
  }
  config_free(&set, &params);
  if (memory_now_bytes() != 0) abort();
  return 0;
}
