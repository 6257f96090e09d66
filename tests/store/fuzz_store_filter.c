/* libFuzzer on the filters: byte 0 chooses one, four parameters follow, the rest is the packed chunk. See tests/fuzz.sh. */
#include "store_private.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  static const int id[] = {1, 2, 3, 32000, 32001, 32004, 32008};
  enum { ROOM_BYTES = 3000 };
  if (bytes < 5) return 0;
  struct filter filter = {
      .id      = id[data[0] % 7],
      .detail  = {0, 3, data[1], data[2], data[3] % 4},
      .details = data[4] % 6
  };
  if (filter.id == 2) filter.detail[0] = data[1];
  size_t got            = 0;
  unsigned char *to     = malloc(ROOM_BYTES);
  unsigned char *packed = malloc(bytes - 5 + 1);
  memcpy(packed, data + 5, bytes - 5);
  if (filter_undo(&filter, packed, bytes - 5, to, ROOM_BYTES, &got) && got > ROOM_BYTES) abort();
  free(to);
  free(packed);
  return 0;
}
