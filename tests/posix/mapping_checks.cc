// Memory-mapped files between processes, and files that are executed.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <filesystem>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kBytes = 64 * kPage;

class Mapping {
 public:
  Mapping(int fd, int protection, int flags)
      : memory_(mmap(nullptr, kBytes, protection, flags, fd, 0)) {}
  ~Mapping() {
    if (memory_ != MAP_FAILED) munmap(memory_, kBytes);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  bool ok() const { return memory_ != MAP_FAILED; }
  volatile char* bytes() const { return static_cast<volatile char*>(memory_); }
  int Sync() const { return msync(memory_, kBytes, MS_SYNC); }

 private:
  void* memory_;
};

// The signal that ends a child which does `work`, or 0.
int SignalOf(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGBUS, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    work();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// The exit code of a program, or the errno of executing it plus 1000.
int Execute(const std::string& path) {
  const pid_t child = fork();
  if (child == 0) {
    char* const arguments[] = {const_cast<char*>("program"), nullptr};
    execv(path.c_str(), arguments);
    _exit(errno == ETXTBSY ? 201 : errno == EACCES ? 202 : 203);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) return -1;
  switch (WEXITSTATUS(status)) {
    case 201:
      return 1000 + ETXTBSY;
    case 202:
      return 1000 + EACCES;
    case 203:
      return 1000;
    default:
      return WEXITSTATUS(status);
  }
}

void CopyProgram(const char* from, const std::string& to) {
  std::filesystem::copy_file(from, to);
  chmod(to.c_str(), 0755);
}

}  // namespace

POSIX_CHECK(mmap, StoresAreSeenByOthersAtOnce) {
  const std::string path = run.MakeFile("file", std::string(kBytes, 'a'));
  const Fd fd(path, O_RDWR);
  const Mapping mine(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
  mine.bytes()[0] = 'b';
  run.InChild([&] {
    const Fd other(path, O_RDWR);
    const Mapping theirs(other, PROT_READ | PROT_WRITE, MAP_SHARED);
    SAME(char{theirs.bytes()[0]}, 'b');
    theirs.bytes()[kPage] = 'c';
    char byte;
    SAME(pread(other, &byte, 1, 0), ssize_t{1});
    SAME(byte, 'b');
    SAME(pwrite(other, "d", 1, 2 * kPage), ssize_t{1});
  });
  SAME(char{mine.bytes()[kPage]}, 'c');
  SAME(char{mine.bytes()[2 * kPage]}, 'd');
  OK(mine.Sync());
  std::string expected(kBytes, 'a');
  expected[0] = 'b';
  expected[kPage] = 'c';
  expected[2 * kPage] = 'd';
  THAT(run.Contents(path) == expected);
}

POSIX_CHECK(mmap, StoresArePartOfTheFileAfterItIsUnmapped) {
  const std::string path = run.MakeFile("file", std::string(kBytes, 'a'));
  // The kernel writes them when they are unmapped, under the process's lock of its memory. The
  // volume may be served by threads of this process, which could not get any memory meanwhile.
  run.InChild([&] {
    const Fd fd(path, O_RDWR);
    const Mapping theirs(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    for (size_t i = 0; i < kBytes; i += kPage) theirs.bytes()[i] = 'z';
  });
  std::string expected(kBytes, 'a');
  for (size_t i = 0; i < kBytes; i += kPage) expected[i] = 'z';
  THAT(run.Contents(path) == expected);
  THAT(run.Stat(path).st_mtim.tv_sec > 0);
}

POSIX_CHECK(mmap, PrivateStoresStayPrivate) {
  const std::string path = run.MakeFile("file", std::string(kBytes, 'a'));
  const Fd fd(path, O_RDONLY);
  const Mapping mine(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  mine.bytes()[0] = 'b';
  OK(mine.Sync());
  THAT(run.Contents(path) == std::string(kBytes, 'a'));
}

POSIX_CHECK(mmap, BeyondTheEndIsASignal) {
  const std::string path = run.MakeFile("file", std::string(kPage + 1, 'a'));
  const Fd fd(path, O_RDWR);
  const Mapping mine(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
  SAME(char{mine.bytes()[kPage + 1]}, '\0');
  SAME(SignalOf([&] { mine.bytes()[2 * kPage] = 'x'; }), SIGBUS);
  OK(ftruncate(fd, 4 * kPage));
  SAME(SignalOf([&] { mine.bytes()[2 * kPage] = 'x'; }), 0);
  SAME(char{mine.bytes()[2 * kPage]}, 'x');
  OK(ftruncate(fd, 1));
  SAME(SignalOf([&] { mine.bytes()[2 * kPage] = 'x'; }), SIGBUS);
}

POSIX_CHECK(mmap, NeedsTheRightsOfTheDescriptor) {
  const std::string path = run.MakeFile("file", std::string(kBytes, 'a'));
  THAT(!Mapping(Fd(path, O_RDONLY), PROT_READ | PROT_WRITE, MAP_SHARED).ok());
  SAME(errno, EACCES);
  THAT(!Mapping(Fd(path, O_WRONLY), PROT_READ, MAP_SHARED).ok());
  SAME(errno, EACCES);
}

POSIX_CHECK(mmap, AnUnlinkedFileStaysMapped) {
  const std::string path = run.MakeFile("file", std::string(kBytes, 'a'));
  Fd fd(path, O_RDWR);
  const Mapping mine(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
  fd.Close();
  OK(unlink(path.c_str()));
  mine.bytes()[5] = 'b';
  OK(mine.Sync());
  SAME(char{mine.bytes()[5]}, 'b');
  SAME(char{mine.bytes()[kBytes - 1]}, 'a');
}

POSIX_CHECK(execute, ProgramsAndScripts) {
  CopyProgram("/bin/true", run.Path("true"));
  SAME(Execute(run.Path("true")), 0);
  run.MakeFile("script", "#!/bin/sh\nexit 7\n", 0755);
  SAME(Execute(run.Path("script")), 7);
  OK(chmod(run.Path("script").c_str(), 0644));
  SAME(Execute(run.Path("script")), 1000 + EACCES);
  OK(chmod(run.Path("script").c_str(), 0711));
  run.As(kAlice, [&] { SAME(OpenError(run.Path("script"), O_RDONLY), EACCES); });
}

POSIX_CHECK(execute, WhatIsWrittenIsNotExecutedNorTheOtherWay) {
  const std::string path = run.Path("sleep");
  CopyProgram("/bin/sleep", path);
  {
    const Fd writer(path, O_RDWR);
    SAME(Execute(path), 1000 + ETXTBSY);
  }
  int ends[2];
  OK(pipe2(ends, O_CLOEXEC));
  const pid_t child = fork();
  if (child == 0) {
    execl(path.c_str(), "sleep", "1000", nullptr);
    _exit(1);
  }
  OK(child);
  if (child < 0) return;
  close(ends[1]);
  char byte;
  SAME(read(ends[0], &byte, 1), ssize_t{0});  // executing has closed the other end
  close(ends[0]);
  SAME(OpenError(path, O_WRONLY), ETXTBSY);
  SAME(OpenError(path, O_RDWR | O_TRUNC), ETXTBSY);
  FAILS(ETXTBSY, truncate(path.c_str(), 0));
  SAME(OpenError(path, O_RDONLY), 0);
  OK(unlink(path.c_str()));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

}  // namespace rw::testing
