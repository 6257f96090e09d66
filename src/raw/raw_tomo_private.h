/* Private: opening a scan, reading its frames, judging its flats. */
#pragma once
#include "raw_tomo.h"

enum { KEY_ALIGNMENT = -1, KEY_PROJECTION, KEY_FLAT, KEY_DARK, KEY_INVALID };

struct places {
  char layout[32], file[STORE_NAME_BYTES], data[STORE_NAME_BYTES], key[STORE_NAME_BYTES],
      angles[STORE_NAME_BYTES], flats[STORE_NAME_BYTES], darks[STORE_NAME_BYTES],
      pixel[STORE_NAME_BYTES];
};
/* Collective. Where things lie in FILE[:DATASET]. */
enum status tomo_find_places(MPI_Comm comm, const char *input, struct places *at);
/* Collective. The image key; NULL and 0 where there is none. The caller memory_free's it. */
enum status tomo_read_key(MPI_Comm comm, const struct places *at, double **key, int64_t *n);

/* Collective. Frames first .. first + n - 1 of `from`, rows row0 .. row0 + rows - 1 as float32
 * [frame][row][column], cropped and binned. Rows may be 0; n is this rank's own. */
enum status tomo_read_frames(MPI_Comm comm, const struct raw_tomo *scan, struct store_input *from,
                             int64_t first, int64_t n, int64_t row0, int64_t rows, float *to);

/* Collective. Flats or darks of one kind: inside (the frames of the scan with that key), where the layout has them
 * (`inside`, a dataset of the same file), or apart (`said`: FILE[:DATASET], "none", ""). */
enum status tomo_light_find(MPI_Comm comm, const struct places *at, const char *said,
                            const char *inside, int key, const double *keys, int64_t frames,
                            const struct raw_tomo *scan, struct raw_tomo_light *light);
/* Collective. Bad ones out, the rest in groups of one time each. */
enum status tomo_light_judge(MPI_Comm comm, struct raw_tomo *scan, const char *file, bool in_time);
void tomo_light_free(struct raw_tomo_light *light);
