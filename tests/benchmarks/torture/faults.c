/* Counts what a process does to files below one folder, and at the n-th of these deeds does harm.
 *
 * Loaded by LD_PRELOAD, so that Arrow's, DuckDB's, obstore's and PyTorch's own writing is seen as Python's is: whatever
 * calls the C library. It does nothing until torture_arm is called, in a forked child, through ctypes.
 *
 * Not seen: writing through a mapped page, what a statically linked program does, what the C library does within itself
 * (fwrite into a FILE: its opening is seen, its flushing is not), and io_uring.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, WRITE, FSYNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, TRUNCATE, KINDS };
static const char *const NAMES[KINDS] = {"open", "write", "fsync", "rename", "link", "unlink", "mkdir", "rmdir", "truncate"};

/* KILL: before the deed. TORN: in the middle of a write. CUT: as by the mains, what was not flushed is gone.
 * FAIL: the deed fails once. LASTING: it and all that follow. SHORT: half of a write is done, and said to be. */
enum { NOTHING, KILL, TORN, CUT, FAIL, LASTING, SHORT };

static char root[PATH_MAX];
static size_t root_length;
static atomic_int armed;
static atomic_long count;
static long at;
static int harm, number, trace = -1;
static unsigned struck;

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

/* ---- what was written and not flushed, for CUT ------------------------------------------------------------------ */

#define DIRTY 512
static struct { dev_t device; ino_t inode; int file; } dirty[DIRTY];
static int dirty_count;
static atomic_flag dirty_lock = ATOMIC_FLAG_INIT;

static void mark(int file, int written) {
  struct stat status;
  if (harm != CUT || fstat(file, &status) || !S_ISREG(status.st_mode)) return;
  while (atomic_flag_test_and_set(&dirty_lock)) {}
  int place = 0;
  while (place < dirty_count && !(dirty[place].device == status.st_dev && dirty[place].inode == status.st_ino)) place++;
  if (written && place == dirty_count && dirty_count < DIRTY) {
    /* Of a descriptor of its own: the other may be closed by then. */
    dirty[place].device = status.st_dev, dirty[place].inode = status.st_ino;
    dirty[place].file = fcntl(file, F_DUPFD_CLOEXEC, 200);
    dirty_count++;
  } else if (!written && place < dirty_count) {
    syscall(SYS_close, dirty[place].file);
    dirty[place] = dirty[--dirty_count];
  }
  atomic_flag_clear(&dirty_lock);
}

static void die(void) {
  if (harm == CUT)
    for (int place = 0; place < dirty_count; place++) syscall(SYS_ftruncate, dirty[place].file, (off_t)0);
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* ---- what concerns us -------------------------------------------------------------------------------------------- */

static int below(const char *path) {
  return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int of_file(int file, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, (size_t)PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
  return length > 0 && below(path);
}

static int of_path(int folder, const char *name, char *path) {
  if (!name) return 0;
  if (name[0] == '/') { snprintf(path, PATH_MAX, "%s", name); return below(path); }
  char home[PATH_MAX];
  if (folder == AT_FDCWD) { if (!getcwd(home, sizeof home)) return 0; }
  else { of_file(folder, home); if (!home[0]) return 0; }
  if (snprintf(path, PATH_MAX, "%s/%s", home, name) >= PATH_MAX) return 0;
  return below(path);
}

/* Count a deed; what is to be done to it. A negative answer: it is to fail with that error. */
static int deed(int kind, const char *path) {
  long mine = atomic_fetch_add(&count, 1) + 1;
  if (trace >= 0) {
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%ld\t%s\t%s\n", mine, NAMES[kind], path);
    syscall(SYS_write, trace, line, (size_t)length);
  }
  if (harm == NOTHING || mine < at || (mine > at && harm != LASTING) || !(struck >> kind & 1)) return NOTHING;
  if (harm == KILL || harm == CUT) die();
  if (harm == FAIL || harm == LASTING) return -number;
  return kind == WRITE ? harm : harm == TORN ? (die(), 0) : NOTHING;
}

#define OF(kind, test) char path[PATH_MAX]; \
  int todo = atomic_load(&armed) && (test) ? deed(kind, path) : NOTHING; \
  if (todo < 0) { errno = -todo; return -1; }

void torture_arm(const char *folder, unsigned which, long place, int what, int error, int log) {
  snprintf(root, sizeof root, "%s", folder);
  root_length = strlen(root);
  struck = which, at = place, harm = what, number = error, trace = log;
  atomic_store(&count, 0);
  atomic_store(&armed, 1);
}

long torture_disarm(void) { atomic_store(&armed, 0); return atomic_load(&count); }

/* A line of one's own between the deeds: a stage begins. */
void torture_mark(const char *what) {
  char line[256];
  int length = snprintf(line, sizeof line, "0\tmark\t%s\n", what);
  if (trace >= 0) syscall(SYS_write, trace, line, (size_t)length);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

#define WRITES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & O_CREAT))
#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *name, int flags, ...) { MODE OF(OPEN, WRITES(flags) && of_path(AT_FDCWD, name, path)) return REAL(open)(name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE OF(OPEN, WRITES(flags) && of_path(AT_FDCWD, name, path)) return REAL(open64)(name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE OF(OPEN, WRITES(flags) && of_path(folder, name, path)) return REAL(openat)(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE OF(OPEN, WRITES(flags) && of_path(folder, name, path)) return REAL(openat64)(folder, name, flags, mode); }

static int opens(const char *name, const char *mode) {
  char path[PATH_MAX];
  int todo = atomic_load(&armed) && strpbrk(mode, "wa+") && of_path(AT_FDCWD, name, path) ? deed(OPEN, path) : NOTHING;
  if (todo < 0) errno = -todo;
  return todo >= 0;
}
FILE *fopen(const char *name, const char *mode) { return opens(name, mode) ? REAL(fopen)(name, mode) : NULL; }
FILE *fopen64(const char *name, const char *mode) { return opens(name, mode) ? REAL(fopen64)(name, mode) : NULL; }

/* ---- writing ----------------------------------------------------------------------------------------------------- */

#define HALF(size) ((size) > 1 ? (size) / 2 : (size))
#define WRITTEN(call_whole, call_half, size) \
  OF(WRITE, of_file(file, path)) \
  if (todo) { ssize_t done = call_half; if (todo == TORN) die(); return done; } \
  if (atomic_load(&armed)) mark(file, 1); \
  return call_whole;

ssize_t write(int file, const void *data, size_t size) { WRITTEN(REAL(write)(file, data, size), REAL(write)(file, data, HALF(size)), size) }
ssize_t pwrite(int file, const void *data, size_t size, off_t offset) { WRITTEN(REAL(pwrite)(file, data, size, offset), REAL(pwrite)(file, data, HALF(size), offset), size) }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) { WRITTEN(REAL(pwrite64)(file, data, size, offset), REAL(pwrite64)(file, data, HALF(size), offset), size) }
ssize_t writev(int file, const struct iovec *parts, int n) { WRITTEN(REAL(writev)(file, parts, n), REAL(writev)(file, parts, HALF(n)), n) }
ssize_t copy_file_range(int in, off64_t *from, int file, off64_t *to, size_t size, unsigned flags) { WRITTEN(REAL(copy_file_range)(in, from, file, to, size, flags), REAL(copy_file_range)(in, from, file, to, HALF(size), flags), size) }
ssize_t sendfile(int file, int in, off_t *offset, size_t size) { WRITTEN(REAL(sendfile)(file, in, offset, size), REAL(sendfile)(file, in, offset, HALF(size)), size) }
ssize_t sendfile64(int file, int in, off64_t *offset, size_t size) { WRITTEN(REAL(sendfile64)(file, in, offset, size), REAL(sendfile64)(file, in, offset, HALF(size)), size) }

int ftruncate(int file, off_t length) { OF(TRUNCATE, of_file(file, path)) return REAL(ftruncate)(file, length); }
int ftruncate64(int file, off64_t length) { OF(TRUNCATE, of_file(file, path)) return REAL(ftruncate64)(file, length); }
int truncate(const char *name, off_t length) { OF(TRUNCATE, of_path(AT_FDCWD, name, path)) return REAL(truncate)(name, length); }

#define FLUSHED(call) OF(FSYNC, of_file(file, path)) int done = call; if (!done && atomic_load(&armed)) mark(file, 0); return done;
int fsync(int file) { FLUSHED(REAL(fsync)(file)) }
int fdatasync(int file) { FLUSHED(REAL(fdatasync)(file)) }

/* ---- names ------------------------------------------------------------------------------------------------------- */

int rename(const char *from, const char *to) { OF(RENAME, of_path(AT_FDCWD, to, path)) return REAL(rename)(from, to); }
int renameat(int a, const char *from, int b, const char *to) { OF(RENAME, of_path(b, to, path)) return REAL(renameat)(a, from, b, to); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { OF(RENAME, of_path(b, to, path)) return REAL(renameat2)(a, from, b, to, flags); }
int link(const char *from, const char *to) { OF(LINK, of_path(AT_FDCWD, to, path)) return REAL(link)(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) { OF(LINK, of_path(b, to, path)) return REAL(linkat)(a, from, b, to, flags); }
int symlink(const char *from, const char *to) { OF(LINK, of_path(AT_FDCWD, to, path)) return REAL(symlink)(from, to); }
int unlink(const char *name) { OF(UNLINK, of_path(AT_FDCWD, name, path)) return REAL(unlink)(name); }
int unlinkat(int folder, const char *name, int flags) { OF(flags & AT_REMOVEDIR ? RMDIR : UNLINK, of_path(folder, name, path)) return REAL(unlinkat)(folder, name, flags); }
int mkdir(const char *name, mode_t mode) { OF(MKDIR, of_path(AT_FDCWD, name, path)) return REAL(mkdir)(name, mode); }
int mkdirat(int folder, const char *name, mode_t mode) { OF(MKDIR, of_path(folder, name, path)) return REAL(mkdirat)(folder, name, mode); }
int rmdir(const char *name) { OF(RMDIR, of_path(AT_FDCWD, name, path)) return REAL(rmdir)(name); }
