/* The lock of an output: PATH.lock holds "host pid", and the kernel's flock on it lives as long as
 * its owner. A lock whose flock is free and whose host is ours belonged to a dead process and is
 * taken over. From another host flock may not be seen (some network file systems): such a lock is
 * respected until its file is removed by hand. */
#include "store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct owner {
  char host[256];
  long pid;
};

static struct owner owner_self(void) {
  struct owner owner = {.pid = (long)getpid()};
  gethostname(owner.host, sizeof owner.host - 1);
  return owner;
}

static bool owner_read(int handle, struct owner *owner) {
  char text[320] = "";
  ssize_t n      = pread(handle, text, sizeof text - 1, 0);
  return n > 0 && sscanf(text, "%255s %ld", owner->host, &owner->pid) == 2;
}

static enum status owner_write(int handle, const char *lock) {
  struct owner owner = owner_self();
  char text[320];
  int n = snprintf(text, sizeof text, "%s %ld\n", owner.host, owner.pid);
  if (ftruncate(handle, 0) != 0 || pwrite(handle, text, (size_t)n, 0) != n)
    return FAIL(errno == ENOSPC ? STATUS_MEMORY : STATUS_OUTPUT, "%s cannot be written: %s", lock,
                strerror(errno));
  return STATUS_OK;
}

static enum status refuse(const char *lock, const struct owner *owner, bool known) {
  if (!known)
    return FAIL(STATUS_OUTPUT, "the output is in use: %s is held by another process", lock);
  return FAIL(STATUS_OUTPUT,
              "the output is in use by process %ld on %s; if that is gone for sure, remove %s",
              owner->pid, owner->host, lock);
}

/* The file under the name is still the one that was opened and locked (not just unlinked). */
static bool same_file(int handle, const char *lock) {
  struct stat opened, named;
  return fstat(handle, &opened) == 0 && lstat(lock, &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

/* One attempt on an opened lock file; *again when it vanished meanwhile. */
static enum status lock_try(int handle, const char *lock, bool created, bool *again) {
  struct owner owner = {0}, self = owner_self();
  bool busy = flock(handle, LOCK_EX | LOCK_NB) != 0, unknown = busy && errno != EWOULDBLOCK;
  bool known = owner_read(handle, &owner);
  if (busy && !unknown) return refuse(lock, &owner, known);
  if (!same_file(handle, lock)) return *again = true, STATUS_OK;
  if (!created && known && strcmp(owner.host, self.host) != 0) return refuse(lock, &owner, true);
  if (!created && unknown && known && (kill((pid_t)owner.pid, 0) == 0 || errno == EPERM))
    return refuse(lock, &owner, true);
  if (!created && known)
    log_info("the lock %s of process %ld, which is dead, is taken over", lock, owner.pid);
  return owner_write(handle, lock);
}

enum status lock_take(const char *lock, int *handle) {
  *handle = -1;
  for (int attempt = 0; attempt < 100; attempt++) {
    bool again = false, created = true;
    const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC;
    int opened      = open(lock, flags | O_CREAT | O_EXCL, 0644);
    if (opened < 0 && errno == EEXIST) {
      created = false;
      opened  = open(lock, flags);
      if (opened < 0 && errno == ENOENT) continue;
    }
    if (opened < 0)
      return FAIL(errno == ENOSPC ? STATUS_MEMORY : STATUS_OUTPUT, "%s cannot be made: %s", lock,
                  strerror(errno));
    enum status status = lock_try(opened, lock, created, &again);
    if (status == STATUS_OK && !again) return *handle = opened, STATUS_OK;
    close(opened);
    if (status != STATUS_OK) {
      if (created) unlink(lock);
      return status;
    }
  }
  return FAIL(STATUS_OUTPUT, "%s cannot be taken: it comes and goes", lock);
}

void lock_release(const char *lock, int *handle) {
  if (*handle < 0) return;
  if (same_file(*handle, lock)) unlink(lock);
  close(*handle);
  *handle = -1;
}

enum status store_lock_take(MPI_Comm comm, const char *path, int *handle) {
  *handle = -1;
  return ON_ROOT(comm, "store.lock", lock_take(path, handle));
}

void store_lock_release(const char *path, int *handle) { lock_release(path, handle); }
