// Locks between processes: fcntl's, of processes and of open files; flock's.
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <new>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

int Lock(int fd, int command, short type, off_t from = 0, off_t length = 0) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = from;
  lock.l_len = length;
  return fcntl(fd, command, &lock);
}

// A flag that parent and children share.
class SharedFlag {
 public:
  SharedFlag()
      : flag_(new (mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
                  std::atomic<int>(0)) {}
  ~SharedFlag() { munmap(flag_, 4096); }
  SharedFlag(const SharedFlag&) = delete;
  SharedFlag& operator=(const SharedFlag&) = delete;
  std::atomic<int>& operator*() { return *flag_; }

 private:
  std::atomic<int>* flag_;
};

}  // namespace

POSIX_CHECK(lock, OfProcessesExcludeEachOther) {
  const std::string path = run.MakeFile("file", "0123456789");
  const Fd fd(path, O_RDWR);
  OK(Lock(fd, F_SETLK, F_WRLCK, 2, 3));
  const pid_t parent = getpid();
  run.InChild([&] {
    const Fd mine(path, O_RDWR);
    FAILS(EAGAIN, Lock(mine, F_SETLK, F_RDLCK, 4, 1));
    OK(Lock(mine, F_SETLK, F_WRLCK, 5, 5));
    OK(Lock(mine, F_SETLK, F_WRLCK, 0, 2));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    OK(fcntl(mine, F_GETLK, &lock));
    SAME(lock.l_pid, parent);
    SAME(lock.l_start, off_t{2});
    SAME(lock.l_len, off_t{3});
  });
  OK(Lock(fd, F_SETLK, F_RDLCK, 2, 3));
  run.InChild([&] {
    const Fd mine(path, O_RDWR);
    OK(Lock(mine, F_SETLK, F_RDLCK, 2, 3));
    FAILS(EAGAIN, Lock(mine, F_SETLK, F_WRLCK, 2, 3));
  });
  FAILS(EBADF, Lock(Fd(path, O_RDONLY), F_SETLK, F_WRLCK));
}

// The classic trap: closing any descriptor of the file ends the process's locks.
POSIX_CHECK(lock, OfProcessesEndWithAnyClose) {
  const std::string path = run.MakeFile("file");
  const Fd fd(path, O_RDWR);
  OK(Lock(fd, F_SETLK, F_WRLCK));
  SAME(OpenError(path, O_RDONLY), 0);
  run.InChild([&] { OK(Lock(Fd(path, O_RDWR), F_SETLK, F_WRLCK)); });
  OK(Lock(fd, F_SETLK, F_WRLCK));
}

POSIX_CHECK(lock, OfOpenFilesDoNot) {
  const std::string path = run.MakeFile("file");
  const Fd fd(path, O_RDWR);
  OK(Lock(fd, F_OFD_SETLK, F_WRLCK, 0, 5));
  SAME(OpenError(path, O_RDONLY), 0);
  const Fd other(path, O_RDWR);
  FAILS(EAGAIN, Lock(other, F_OFD_SETLK, F_WRLCK, 0, 1));
  OK(Lock(other, F_OFD_SETLK, F_WRLCK, 5, 1));
  run.InChild([&] { FAILS(EAGAIN, Lock(Fd(path, O_RDWR), F_SETLK, F_RDLCK, 0, 1)); });
  OK(Lock(fd, F_OFD_SETLK, F_UNLCK, 0, 5));
  OK(Lock(other, F_OFD_SETLK, F_WRLCK, 0, 1));
}

POSIX_CHECK(lock, OfFlock) {
  const std::string path = run.MakeFile("file");
  const Fd one(path, O_RDONLY);
  const Fd two(path, O_RDONLY);
  OK(flock(one, LOCK_SH));
  OK(flock(two, LOCK_SH | LOCK_NB));
  FAILS(EAGAIN, flock(two, LOCK_EX | LOCK_NB));
  OK(flock(one, LOCK_UN));
  OK(flock(two, LOCK_EX | LOCK_NB));
  run.InChild([&] {
    FAILS(EAGAIN, flock(Fd(path, O_RDONLY), LOCK_SH | LOCK_NB));
    OK(flock(two, LOCK_UN));  // the open file is the same one
  });
  OK(flock(one, LOCK_EX | LOCK_NB));
}

POSIX_CHECK(lock, IsWaitedFor) {
  const std::string path = run.MakeFile("file");
  for (const int command : {F_SETLKW, F_OFD_SETLKW}) {
    SharedFlag released;
    const Fd fd(path, O_RDWR);
    OK(Lock(fd, command, F_WRLCK));
    const auto child = run.Start([&] {
      const Fd mine(path, O_RDWR);
      OK(Lock(mine, command, F_WRLCK));
      SAME((*released).load(), 1);
    });
    *released = 1;
    OK(Lock(fd, command, F_UNLCK));
    run.Wait(child);
  }
}

POSIX_CHECK(lock, EndsWithItsProcess) {
  const std::string path = run.MakeFile("file");
  SharedFlag locked;
  const pid_t child = fork();
  if (child == 0) {
    const Fd mine(path, O_RDWR);
    if (Lock(mine, F_SETLK, F_WRLCK) == 0) *locked = 1;
    if (flock(mine, LOCK_EX) != 0) *locked = 2;
    for (;;) pause();
  }
  OK(child);
  if (child < 0) return;
  while (*locked == 0) usleep(1000);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const Fd fd(path, O_RDWR);
  OK(Lock(fd, F_SETLKW, F_WRLCK));
  OK(flock(fd, LOCK_EX));
  SAME((*locked).load(), 1);
}

POSIX_CHECK(lock, NoCircleOfWaiters) {
  const std::string path = run.MakeFile("file");
  SharedFlag state;
  const Fd fd(path, O_RDWR);
  OK(Lock(fd, F_SETLK, F_WRLCK, 0, 1));
  const auto child = run.Start([&] {
    const Fd mine(path, O_RDWR);
    OK(Lock(mine, F_SETLK, F_WRLCK, 1, 1));
    *state = 1;
    // One of the two is told; then the other gets what it waits for.
    const int error = ErrorOf(Lock(mine, F_SETLKW, F_WRLCK, 0, 1));
    THAT(error == 0 || error == EDEADLK);
    if (error == EDEADLK) OK(Lock(mine, F_SETLK, F_UNLCK, 1, 1));
    *state = error == 0 ? 2 : 3;
  });
  while (*state == 0) usleep(1000);
  const int error = ErrorOf(Lock(fd, F_SETLKW, F_WRLCK, 1, 1));
  THAT(error == 0 || error == EDEADLK);
  OK(Lock(fd, F_SETLK, F_UNLCK));
  run.Wait(child);
  SAME((*state).load(), error == 0 ? 3 : 2);
}

}  // namespace rw::testing
