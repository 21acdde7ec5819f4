/* What a process does to the files below DISK_ROOT, written to DISK_JOURNAL as it happens, and faults when DISK_FAULT
 * asks for them. Preloaded (LD_PRELOAD) into a bank; journal.py reads the journal, layer.py compiles and steers.
 *
 * A sync is not made: it only takes DISK_SYNC_MICROSECONDS, for the journal says what it covers. The file of shared
 * memory (-shm) is left out: no power cut leaves anything of it that counts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
#define SAME(name, ...) __attribute__((alias(#name)))
#define REAL(name) ((__typeof__(&name))real(#name))

struct record { uint32_t op, sync; uint64_t inode, offset, size; };

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static char *watched[FDS];
static const char *root;
static int journal = -1, control = -1;
static long sync_microseconds;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    root = getenv("DISK_ROOT");
    if (!root) return;
    journal = syscall(SYS_openat, AT_FDCWD, getenv("DISK_JOURNAL"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    control = syscall(SYS_openat, AT_FDCWD, getenv("DISK_FAULT"), O_RDONLY | O_CLOEXEC);
    sync_microseconds = atol(getenv("DISK_SYNC_MICROSECONDS"));
    if (journal < 0 || control < 0) abort();
}

static int is_watched(const char *path) {
    size_t length = root ? strlen(root) : 0, end = strlen(path);
    return length && !strncmp(path, root, length) && !(end > 4 && !strcmp(path + end - 4, "-shm"));
}

static const char *name_of(int fd) { return fd >= 0 && fd < FDS ? watched[fd] : NULL; }

static uint64_t inode_of(int fd) { struct stat s; return fstat(fd, &s) ? 0 : s.st_ino; }

static void note(char op, uint32_t sync, uint64_t inode, uint64_t offset, const void *data, uint64_t size) {
    struct record record = {op, sync, inode, offset, size};
    struct iovec parts[] = {{&record, sizeof record}, {(void *)data, size}};
    if (syscall(SYS_writev, journal, parts, 2) != (long)(sizeof record + size)) abort();
}

static void note_path(char op, const char *path) {
    struct stat s;
    note(op, 0, lstat(path, &s) ? 0 : s.st_ino, 0, path, strlen(path));
}

/* The errno to fail with, or 0. The control file: number, operations, errno, how many to let pass, how many to fail
 * (-1: all), end of the file's name; a new number counts from the beginning. With h, the first write to fail is only
 * cut short, as where the room ends in the middle of it. */
static int cut_short;
static int fault(char op, const char *path) {
    static int known, seen;
    char line[128] = "", ops[16], suffix[64];
    int number, error, pass, times;
    size_t end;
    syscall(SYS_pread64, control, line, sizeof line - 1, 0);
    if (sscanf(line, "%d %15s %d %d %d %63s", &number, ops, &error, &pass, &times, suffix) != 6) return 0;
    end = strlen(path) - (strlen(path) < strlen(suffix) ? strlen(path) : strlen(suffix));
    if (!strchr(ops, op) || strcmp(path + end, suffix)) return 0;
    if (number != known) known = number, seen = 0;
    seen++;
    cut_short = strchr(ops, 'h') && seen == pass + 1;
    return seen <= pass || (times >= 0 && seen > pass + times) ? 0 : error;
}

static ssize_t write_at(int fd, const void *data, size_t size, off64_t offset, int moves) {
    const char *path = name_of(fd);
    ssize_t done;
    int error;
    if (!path) return moves ? REAL(write)(fd, data, size) : REAL(pwrite64)(fd, data, size, offset);
    pthread_mutex_lock(&order);
    error = fault('w', path);
    if (error && cut_short && size > 1) error = 0, size /= 2;
    if (moves) offset = fcntl(fd, F_GETFL) & O_APPEND ? lseek64(fd, 0, SEEK_END) : lseek64(fd, 0, SEEK_CUR);
    done = error ? -1 : moves ? REAL(write)(fd, data, size) : REAL(pwrite64)(fd, data, size, offset);
    if (!error) error = errno;
    if (done > 0) note('w', 0, inode_of(fd), offset, data, done);
    pthread_mutex_unlock(&order);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return write_at(fd, data, size, 0, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return write_at(fd, data, size, offset, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) SAME(pwrite64);

ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    const char *path = name_of(fd);
    int error = path ? fault('r', path) : 0;
    if (!error) return REAL(pread64)(fd, data, size, offset);
    errno = error;
    return -1;
}
ssize_t pread(int fd, void *data, size_t size, off_t offset) SAME(pread64);

static int sync_file(int fd, int (*others)(int)) {
    static uint32_t syncs;
    const char *path = name_of(fd);
    uint32_t number;
    int error;
    if (!path) return others(fd);
    pthread_mutex_lock(&order);
    number = ++syncs;
    note('b', number, inode_of(fd), 0, NULL, 0);
    error = fault('s', path);
    pthread_mutex_unlock(&order);
    usleep(sync_microseconds);
    note(error ? 'x' : 'e', number, inode_of(fd), 0, NULL, 0);
    errno = error;
    return error ? -1 : 0;
}

int fsync(int fd) { return sync_file(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_file(fd, REAL(fdatasync)); }

static int resized(int fd, off64_t size, int (*others)(int, off64_t)) {
    const char *path = name_of(fd);
    int done;
    if (!path) return others(fd, size);
    pthread_mutex_lock(&order);
    done = others(fd, size);
    if (!done) note('t', 0, inode_of(fd), size, NULL, 0);
    pthread_mutex_unlock(&order);
    return done;
}

int ftruncate64(int fd, off64_t size) { return resized(fd, size, REAL(ftruncate64)); }
int ftruncate(int fd, off_t size) SAME(ftruncate64);

int openat64(int directory, const char *path, int flags, ...) {
    va_list rest;
    int fd, is_new;
    mode_t mode;
    va_start(rest, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (!is_watched(path)) return syscall(SYS_openat, directory, path, flags, mode);
    pthread_mutex_lock(&order);
    is_new = flags & O_CREAT && access(path, F_OK);
    errno = is_new ? fault('c', path) : 0;
    fd = errno ? -1 : syscall(SYS_openat, directory, path, flags, mode);
    if (fd >= 0 && fd < FDS) watched[fd] = strdup(path);
    if (fd >= 0 && is_new) note_path('c', path);
    if (fd >= 0 && flags & O_TRUNC) note('t', 0, inode_of(fd), 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return fd;
}
int openat(int directory, const char *path, int flags, ...) SAME(openat64);
int open64(const char *path, int flags, ...) {
    va_list rest;
    mode_t mode;
    va_start(rest, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return openat64(AT_FDCWD, path, flags, mode);
}
int open(const char *path, int flags, ...) SAME(open64);

int close(int fd) {
    if (name_of(fd)) free(watched[fd]), watched[fd] = NULL;
    return syscall(SYS_close, fd);
}

int mkdir(const char *path, mode_t mode) {
    int done = REAL(mkdir)(path, mode);
    if (!done && is_watched(path)) note_path('d', path);
    return done;
}

int unlink(const char *path) {
    int done;
    pthread_mutex_lock(&order);
    done = REAL(unlink)(path);
    if (!done && is_watched(path)) note('u', 0, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&order);
    return done;
}

int rename(const char *old, const char *new) {
    char both[8192];
    int done, size = snprintf(both, sizeof both, "%s%c%s", old, 0, new);
    pthread_mutex_lock(&order);
    done = REAL(rename)(old, new);
    if (!done && is_watched(new)) note('n', 0, 0, 0, both, size);
    pthread_mutex_unlock(&order);
    return done;
}
