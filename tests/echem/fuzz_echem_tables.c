/* libFuzzer on tables of impedance and of cycling (CSV, Gamry's .DTA): byte 0 chooses. See tests/fuzz.sh. */
#include "echem.h"
#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  struct echem_table table = {0};
  if (bytes < 1) return 0;
  status_clear();
  char *copy = malloc(bytes); /* as readers give it: a 0 byte follows the last */
  for (size_t i = 1; i < bytes; i++) copy[i - 1] = (char)data[i];
  copy[bytes - 1]    = 0;
  enum status status = data[0] & 1
                           ? echem_cycle_parse("f.dta", copy, (int64_t)bytes - 1, &table)
                           : echem_impedance_parse("f.dta", copy, (int64_t)bytes - 1, &table);
  if (status != STATUS_OK && !*status_text()) abort();
  echem_table_free(&table);
  free(copy);
  return 0;
}
