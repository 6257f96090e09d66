/* The shelf: fields that were just written, kept for a following stage of the same process that reads
 * them with an equal plan. An entry belongs to the very file that was committed (device, inode, size,
 * time); anything newer under that name is read from disk. Off until a limit is set, since its copies
 * are memory on top of what stages forecast. */
#include "store_private.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct shelf_entry {
  struct shelf_entry *next;
  char product[PRODUCT_BYTES];
  struct stat file; /* rank 0, once committed */
  struct grid_field field;
};
static struct shelf_entry *shelf; /* newest first */
static int64_t limit_bytes;

static int64_t entry_bytes(const struct grid_field *field) {
  return grid_plan_most(&field->plan) * (int64_t)grid_type_bytes(field->type);
}

static void entry_free(struct shelf_entry *entry) {
  grid_field_free(&entry->field);
  memory_free(entry);
}

void shelf_drop(struct shelf_entry **list, const char *product) {
  while (*list) {
    struct shelf_entry *entry = *list;
    if (product && strcmp(entry->product, product) != 0) {
      list = &entry->next;
      continue;
    }
    *list = entry->next;
    entry_free(entry);
  }
}

/* Drops the oldest entries until `more_bytes` fit; alike on all ranks. */
static void room_make(int64_t more_bytes) {
  int64_t bytes             = more_bytes;
  struct shelf_entry **link = &shelf;
  for (; *link; link = &(*link)->next) {
    bytes += entry_bytes(&(*link)->field);
    if (bytes > limit_bytes) break;
  }
  shelf_drop(link, NULL);
}

void store_shelf_clear(void) { shelf_drop(&shelf, NULL); }

void store_shelf_limit(int64_t bytes) {
  limit_bytes = bytes;
  room_make(0);
}

static void rows_copy(const struct grid_field *from, struct grid_field *to) {
  size_t element = grid_type_bytes(from->type), row = (size_t)from->mine.n[2] * element;
  const char *source = (const char *)from->data + (size_t)grid_field_origin(from) * element;
  char *target       = (char *)to->data + (size_t)grid_field_origin(to) * element;
  for (int64_t z = 0; z < from->mine.n[0]; z++)
    for (int64_t y = 0; y < from->mine.n[1]; y++)
      memcpy(target + (size_t)(z * to->row[0] + y * to->row[1]) * element,
             source + (size_t)(z * from->row[0] + y * from->row[1]) * element, row);
}

void shelf_note(MPI_Comm comm, struct shelf_entry **pending, const char *product,
                const struct grid_field *field) {
  static const int64_t no_halo[3];
  struct shelf_entry *entry;
  int64_t bytes = entry_bytes(field);
  if (bytes > limit_bytes) return;
  for (const struct shelf_entry *other = *pending; other; other = other->next)
    bytes += entry_bytes(&other->field);
  if (bytes > limit_bytes) return;
  room_make(bytes);
  enum status mine = memory_make(1, sizeof *entry, "a place on the shelf", &entry);
  if (AGREE(comm, mine) == STATUS_OK &&
      grid_field_make(comm, &field->plan, field->type, no_halo, &entry->field) == STATUS_OK) {
    snprintf(entry->product, PRODUCT_BYTES, "%s", product);
    rows_copy(field, &entry->field);
    entry->next = *pending;
    *pending    = entry;
    return;
  }
  status_clear(); /* no memory for the shelf is no failure */
  memory_free(entry);
}

void shelf_commit(const char *path, struct shelf_entry **pending) {
  while (*pending) {
    struct shelf_entry *entry = *pending;
    *pending                  = entry->next;
    if (stat(path, &entry->file) != 0) memset(&entry->file, 0, sizeof entry->file);
    entry->next = shelf;
    shelf       = entry;
  }
}

static bool same_file(const struct stat *a, const struct stat *b) {
  return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Rank 0: the number of the entry that holds the dataset, or -1. */
static int entry_number(const struct store_info *info, const struct grid_field *field) {
  char path[PRODUCT_BYTES + 16];
  struct stat file;
  int number = 0;
  if (stat(info->file, &file) != 0) return -1;
  for (const struct shelf_entry *entry = shelf; entry; entry = entry->next, number++) {
    snprintf(path, sizeof path, "/entry/%s/data", entry->product);
    if (same_file(&file, &entry->file) && strcmp(path, info->dataset) == 0 &&
        entry->field.type == field->type && grid_plan_equal(&entry->field.plan, &field->plan))
      return number;
  }
  return -1;
}

bool shelf_take(MPI_Comm comm, const struct store_info *info, struct grid_field *field) {
  if (!shelf) return false;
  int number = rank_of(comm) == 0 ? entry_number(info, field) : 0;
  MPI_Bcast(&number, 1, MPI_INT, 0, comm);
  if (number < 0) return false;
  const struct shelf_entry *entry = shelf;
  while (number-- > 0) entry = entry->next;
  rows_copy(&entry->field, field);
  for (int a = 0; a < 3; a++) field->voxel_um[a] = info->voxel_um[a];
  return true;
}
