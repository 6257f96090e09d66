/* HDF5 at its lowest: starting the library, reasons of failures, opening files, following links,
 * describing datasets. Links are followed here and not by the library, so that an external link
 * leads only where it may: into the folder of the file it started from, or a folder allowed by
 * store_link_allow. */
#include "store_private.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void hdf5_start(void) {
  static bool started;
  if (started) return;
  started = true;
  H5open();
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  H5PLset_loading_state(0);
  filters_register();
}

static herr_t reason_keep(unsigned n, const H5E_error2_t *error, void *context) {
  if (n == 0) snprintf(context, 256, "%s", error->desc ? error->desc : "");
  return 0;
}

const char *hdf5_reason(void) {
  static char reason[256];
  reason[0] = 0;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, reason_keep, reason);
  return reason[0] ? reason : "HDF5 gives no reason";
}

enum status file_is_readable(const char *file) {
  struct stat info;
  FILE *stream = fopen(file, "rbe");
  if (!stream) return FAIL(STATUS_INPUT, "%s cannot be read: %s", file, strerror(errno));
  int failed = fstat(fileno(stream), &info);
  fclose(stream);
  if (failed) return FAIL(STATUS_INPUT, "%s cannot be read: %s", file, strerror(errno));
  if (S_ISDIR(info.st_mode)) return FAIL(STATUS_INPUT, "%s is a folder; a file was expected", file);
  if (info.st_size == 0) return FAIL(STATUS_INPUT, "%s is empty", file);
  return STATUS_OK;
}

enum status hdf5_open(const char *file, bool probe, hid_t *id) {
  hdf5_start();
  TRY(file_is_readable(file));
  if (probe) TRY(probe_local(file));
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_file_locking(access, false, true);
  *id = H5Fopen(file, H5F_ACC_RDONLY, access);
  if (*id < 0) FAIL(STATUS_INPUT, "%s cannot be opened as HDF5: %s", file, hdf5_reason());
  H5Pclose(access);
  return *id < 0 ? STATUS_INPUT : STATUS_OK;
}

/* ---- links ------------------------------------------------------------------------------------ */

enum { ROOTS_MAX = 16, LINKS_MAX = 32 };
static char roots[ROOTS_MAX][STORE_NAME_BYTES];
static int roots_n;

enum status store_link_allow(const char *folder) {
  char real[PATH_MAX];
  if (!realpath(folder, real))
    return FAIL(STATUS_INPUT, "folder %s cannot be used: %s", folder, strerror(errno));
  if (roots_n == ROOTS_MAX || strlen(real) >= STORE_NAME_BYTES)
    return FAIL(STATUS_USAGE, "more than %d folders allowed for links, or a path too long: %s",
                ROOTS_MAX, folder);
  for (int i = 0; i < roots_n; i++)
    if (strcmp(roots[i], real) == 0) return STATUS_OK;
  memcpy(roots[roots_n++], real, strlen(real) + 1);
  return STATUS_OK;
}

static bool lies_in(const char *real, const char *folder) {
  size_t n = strlen(folder);
  return strncmp(real, folder, n) == 0 && (real[n] == '/' || folder[n - 1] == '/');
}

static void folder_of(const char *file, char folder[PATH_MAX]) {
  char real[PATH_MAX];
  snprintf(folder, PATH_MAX, "%s", realpath(file, real) ? real : file);
  char *slash = strrchr(folder, '/');
  if (slash) slash[slash == folder] = 0;
}

/* A walk along a path through soft and external links. */
struct walk {
  char home[PATH_MAX]; /* folder of the file it began in */
  char *file;          /* of STORE_NAME_BYTES: where it is now */
  char *reason;        /* of STORE_NAME_BYTES: why it cannot go on */
  hid_t root;          /* open file */
  char rest[STORE_NAME_BYTES];
  int links;
};

/* One place where the target of an external link may be; true when it is there and allowed. */
static bool target_try(const struct walk *walk, const char *folder, const char *name,
                       char file[STORE_NAME_BYTES]) {
  char joined[2 * PATH_MAX], real[PATH_MAX];
  snprintf(joined, sizeof joined, "%s%s%s", folder, *folder ? "/" : "", name);
  if (!realpath(joined, real) || strlen(real) >= STORE_NAME_BYTES) return false;
  bool allowed = lies_in(real, walk->home);
  for (int i = 0; i < roots_n; i++) allowed = allowed || lies_in(real, roots[i]);
  if (allowed)
    memcpy(file, real, strlen(real) + 1);
  else
    snprintf(walk->reason, STORE_NAME_BYTES,
             "a link leads to %.1900s, outside the file's folder and the folders allowed", real);
  return allowed;
}

static bool target_find(const struct walk *walk, const char *name, char file[STORE_NAME_BYTES]) {
  char here[PATH_MAX];
  const char *last = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
  folder_of(walk->file, here);
  snprintf(walk->reason, STORE_NAME_BYTES, "an external link leads to %s, which is not there",
           name);
  if (target_try(walk, name[0] == '/' ? "" : here, name, file)) return true;
  if (name[0] == '/' && target_try(walk, here, last, file)) return true;
  for (int i = 0; i < roots_n; i++)
    if ((name[0] != '/' && target_try(walk, roots[i], name, file)) ||
        target_try(walk, roots[i], last, file))
      return true;
  return false;
}

/* Goes on behind a soft or external link whose value is `value`. */
static bool link_follow(struct walk *walk, const char *before, const char *value, size_t bytes,
                        bool external) {
  char rest[STORE_NAME_BYTES], target[STORE_NAME_BYTES];
  const char *object = value, *name = NULL;
  unsigned flags;
  if (++walk->links > LINKS_MAX) {
    snprintf(walk->reason, STORE_NAME_BYTES, "its links lead round in a loop");
    return false;
  }
  if (external) {
    if (H5Lunpack_elink_val(value, bytes, &flags, &name, &object) < 0 ||
        !target_find(walk, name, target))
      return false;
    hid_t next;
    if (hdf5_open(target, true, &next) != STATUS_OK) {
      snprintf(walk->reason, STORE_NAME_BYTES, "%s", status_text());
      status_clear();
      return false;
    }
    H5Fclose(walk->root);
    walk->root = next;
    snprintf(walk->file, STORE_NAME_BYTES, "%s", target);
  }
  bool absolute = external || object[0] == '/';
  int n = snprintf(rest, sizeof rest, "%s/%s/%s", absolute ? "" : before, object, walk->rest);
  if (n < 0 || (size_t)n >= sizeof rest) {
    snprintf(walk->reason, STORE_NAME_BYTES, "its path through links is too long");
    return false;
  }
  memcpy(walk->rest, rest, sizeof rest);
  return true;
}

/* Takes the first name off walk->rest; false when none is left. */
static bool name_take(struct walk *walk, char name[STORE_NAME_BYTES]) {
  char *from = walk->rest + strspn(walk->rest, "/");
  size_t n   = strcspn(from, "/");
  memcpy(name, from, n);
  name[n] = 0;
  memmove(walk->rest, from + n, strlen(from + n) + 1);
  return n > 0;
}

/* Resolves walk->rest to a path of hard links alone, in walk->file. */
static bool walk_on(struct walk *walk, char path[STORE_NAME_BYTES]) {
  char name[STORE_NAME_BYTES], next[2 * STORE_NAME_BYTES], value[2 * STORE_NAME_BYTES];
  path[0] = 0;
  while (name_take(walk, name)) {
    H5L_info_t info;
    if (strcmp(name, ".") == 0) continue;
    if ((size_t)snprintf(next, sizeof next, "%s/%s", path, name) >= STORE_NAME_BYTES ||
        H5Lget_info(walk->root, next, &info, H5P_DEFAULT) < 0) {
      snprintf(walk->reason, STORE_NAME_BYTES, "%.900s has no %.900s", path[0] ? path : "/", name);
      return false;
    }
    if (info.type == H5L_TYPE_HARD) {
      snprintf(path, STORE_NAME_BYTES, "%.*s", STORE_NAME_BYTES - 1, next);
      continue;
    }
    if (info.u.val_size >= sizeof value ||
        H5Lget_val(walk->root, next, value, sizeof value, H5P_DEFAULT) < 0) {
      snprintf(walk->reason, STORE_NAME_BYTES, "link %.900s cannot be read", next);
      return false;
    }
    value[info.u.val_size] = 0;
    if (!link_follow(walk, path, value, info.u.val_size, info.type == H5L_TYPE_EXTERNAL))
      return false;
    path[0] = 0;
  }
  return true;
}

/* The source files of a virtual dataset must lie where links may lead, and be sound themselves; one
 * that is not there gives fill values, as HDF5 has it. A name with a pattern counts by its folder. */
static bool source_allowed(struct walk *walk, const char *name) {
  char here[PATH_MAX], joined[2 * PATH_MAX], real[PATH_MAX], file[STORE_NAME_BYTES];
  folder_of(walk->file, here);
  bool relative = name[0] != '/';
  snprintf(joined, sizeof joined, "%s%s%s", relative ? here : "", relative ? "/" : "", name);
  char *pattern = strchr(joined, '%');
  if (pattern) {
    *pattern    = 0;
    char *slash = strrchr(joined, '/');
    if (slash) slash[1] = 0;
  }
  if (!realpath(joined, real)) return !realpath(name, real) || target_try(walk, "", name, file);
  if (!target_try(walk, "", joined, file)) return false;
  if (pattern || probe_local(file) == STATUS_OK) return true;
  snprintf(walk->reason, STORE_NAME_BYTES, "%s", status_text());
  status_clear();
  return false;
}

static bool sources_allowed(struct walk *walk, hid_t dataset) {
  char name[STORE_NAME_BYTES];
  size_t count   = 0;
  bool good      = true;
  hid_t creation = H5Dget_create_plist(dataset);
  if (H5Pget_layout(creation) == H5D_VIRTUAL) good = H5Pget_virtual_count(creation, &count) >= 0;
  for (size_t i = 0; i < count && good; i++) {
    ssize_t n = H5Pget_virtual_filename(creation, i, name, sizeof name);
    good = n > 0 && n < STORE_NAME_BYTES && (strcmp(name, ".") == 0 || source_allowed(walk, name));
  }
  H5Pclose(creation);
  return good;
}

enum status hdf5_resolve(char file[STORE_NAME_BYTES], char path[STORE_NAME_BYTES], bool *found,
                         char reason[STORE_NAME_BYTES]) {
  struct walk walk = {.file = file, .reason = reason};
  *found           = false;
  TRY(hdf5_open(file, true, &walk.root));
  folder_of(file, walk.home);
  snprintf(walk.rest, sizeof walk.rest, "%s", path);
  if (walk_on(&walk, path)) {
    if (!path[0]) snprintf(path, STORE_NAME_BYTES, "/");
    hid_t object = H5Oopen(walk.root, path, H5P_DEFAULT);
    *found = object >= 0 && (H5Iget_type(object) != H5I_DATASET || sources_allowed(&walk, object));
    if (object < 0)
      snprintf(reason, STORE_NAME_BYTES, "%s", hdf5_reason());
    else
      H5Oclose(object);
  }
  H5Fclose(walk.root);
  return STATUS_OK;
}
