#include "tests/support/persistent_work.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace rw::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kKeptRounds = 20;  // older ones are removed

}  // namespace

struct PersistentWork::Shared {
  std::atomic<bool> finish;
  std::atomic<bool> failed;
  std::atomic<uint64_t> rounds, calls, longest_us;
  char problem[512];
};

namespace {

class Worker {
 public:
  Worker(const std::string& directory, uint32_t number, PersistentWork::Shared* shared);
  void Run();

 private:
  std::string At(uint64_t round, const char* name) const {
    return own_ + "/" + std::to_string(round) + "/" + name;
  }
  // Runs one call, which has to return `expected`.
  template <typename Fn>
  void Call(const char* what, uint64_t round, int64_t expected, Fn call) {
    if (Timed(call) != expected) Fail(what, round, errno);
  }
  template <typename Fn>
  int Opened(const char* what, uint64_t round, Fn call) {
    const auto fd = static_cast<int>(Timed(call));
    if (fd < 0) Fail(what, round, errno);
    return fd;
  }
  template <typename Fn>
  int64_t Timed(Fn call);
  [[noreturn]] void Fail(const std::string& what, uint64_t round, int error);
  void ExpectContents(uint64_t round, const char* name, const std::string& expected);
  void ExpectLinks(uint64_t round, int fd, nlink_t expected);

  void Names(uint64_t round);
  void Contents(uint64_t round);
  void Xattrs(uint64_t round);
  void Unnamed(uint64_t round);
  void Log(uint64_t round);
  void Check(uint64_t round);
  void RemoveRound(uint64_t round);

  std::string own_, shared_log_;
  uint32_t number_;
  PersistentWork::Shared* shared_;
  int log_ = -1;
};

Worker::Worker(const std::string& directory, uint32_t number, PersistentWork::Shared* shared)
    : own_(directory + "/" + std::to_string(number)),
      shared_log_(directory + "/log"),
      number_(number),
      shared_(shared) {}

template <typename Fn>
int64_t Worker::Timed(Fn call) {
  const auto start = Clock::now();
  const int64_t result = call();
  const auto us = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
  if (us > shared_->longest_us) shared_->longest_us = us;
  ++shared_->calls;
  return result;
}

void Worker::Fail(const std::string& what, uint64_t round, int error) {
  snprintf(shared_->problem, sizeof(shared_->problem), "worker %u, round %llu: %s (%s)", number_,
           static_cast<unsigned long long>(round), what.c_str(), std::strerror(error));
  shared_->failed = true;
  _exit(1);
}

void Worker::ExpectContents(uint64_t round, const char* name, const std::string& expected) {
  const int fd = Opened(name, round, [&] { return open(At(round, name).c_str(), O_RDONLY); });
  std::string found(expected.size() + 1, '\0');
  Call("read", round, static_cast<int64_t>(expected.size()),
       [&] { return pread(fd, found.data(), found.size(), 0); });
  found.pop_back();
  close(fd);
  if (found != expected) Fail(std::string("contents of ") + name, round, 0);
}

void Worker::ExpectLinks(uint64_t round, int fd, nlink_t expected) {
  struct stat status {};
  Call("fstat", round, 0, [&] { return fstat(fd, &status); });
  if (status.st_nlink != expected) Fail("link count " + std::to_string(status.st_nlink), round, 0);
}

void Worker::Names(uint64_t round) {
  const std::string a = At(round, "a"), b = At(round, "b"), c = At(round, "c"), x = At(round, "x");
  const int fd =
      Opened("create a", round, [&] { return open(a.c_str(), O_CREAT | O_EXCL | O_RDWR, 0644); });
  Call("write a", round, 1, [&] { return write(fd, "a", 1); });
  Call("link a b", round, 0, [&] { return link(a.c_str(), b.c_str()); });
  ExpectLinks(round, fd, 2);
  Call("rename b c", round, 0, [&] { return rename(b.c_str(), c.c_str()); });
  const int other =
      Opened("create x", round, [&] { return open(x.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600); });
  Call("write x", round, 1, [&] { return write(other, "x", 1); });
  // Done twice, it would undo itself.
  Call("exchange a x", round, 0,
       [&] { return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, x.c_str(), RENAME_EXCHANGE); });
  ExpectContents(round, "a", "x");
  Call("symlink", round, 0, [&] { return symlink("target", At(round, "s").c_str()); });
  Call("mknod", round, 0, [&] { return mknod(At(round, "p").c_str(), S_IFIFO | 0600, 0); });
  // An open file without a name goes on.
  Call("unlink a", round, 0, [&] { return unlink(a.c_str()); });
  ExpectLinks(round, other, 0);
  Call("write unlinked", round, 1, [&] { return pwrite(other, "y", 1, 1); });
  char found[2] = {};
  Call("read unlinked", round, 2, [&] { return pread(other, found, 2, 0); });
  if (std::memcmp(found, "xy", 2) != 0) Fail("contents of an unlinked file", round, 0);
  close(other);
  close(fd);
}

void Worker::Contents(uint64_t round) {
  const std::string data = At(round, "data");
  const int fd = Opened("create data", round, [&] {
    return open(data.c_str(), O_CREAT | O_EXCL | O_RDWR | O_APPEND, 0644);
  });
  Call("append", round, 5, [&] { return write(fd, "01234", 5); });
  Call("append", round, 5, [&] { return write(fd, "56789", 5); });
  Call("ftruncate", round, 0, [&] { return ftruncate(fd, 8); });
  Call("append", round, 2, [&] { return write(fd, "ab", 2); });
  Call("punch", round, 0,
       [&] { return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 2); });
  const int copy = Opened("create copy", round, [&] {
    return open(At(round, "copy").c_str(), O_CREAT | O_EXCL | O_RDWR, 0644);
  });
  off_t from = 2, to = 0;
  Call("copy_file_range", round, 8, [&] { return copy_file_range(fd, &from, copy, &to, 8, 0); });
  Call("fchmod", round, 0, [&] { return fchmod(copy, 0640); });
  if (round % 4 == 0) Call("fsync", round, 0, [&] { return fsync(fd); });
  close(copy);
  close(fd);
}

void Worker::Xattrs(uint64_t round) {
  const std::string c = At(round, "c");
  Call("setxattr", round, 0, [&] { return setxattr(c.c_str(), "user.a", "1", 1, XATTR_CREATE); });
  Call("removexattr", round, 0, [&] { return removexattr(c.c_str(), "user.a"); });
  Call("setxattr again", round, 0,
       [&] { return setxattr(c.c_str(), "user.a", "2", 1, XATTR_CREATE); });
  char value = 0;
  Call("getxattr", round, 1, [&] { return getxattr(c.c_str(), "user.a", &value, 1); });
  if (value != '2') Fail("value of an xattr", round, 0);
}

void Worker::Unnamed(uint64_t round) {
  const int fd = Opened("O_TMPFILE", round, [&] {
    return open((own_ + "/" + std::to_string(round)).c_str(), O_TMPFILE | O_RDWR, 0600);
  });
  Call("write unnamed", round, 1, [&] { return write(fd, "t", 1); });
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  Call("linkat", round, 0, [&] {
    return linkat(AT_FDCWD, path.c_str(), AT_FDCWD, At(round, "t").c_str(), AT_SYMLINK_FOLLOW);
  });
  ExpectLinks(round, fd, 1);
  close(fd);
}

void Worker::Log(uint64_t round) {
  const std::string line = PersistentWork::LogLine(number_, round);
  Call("append to the log", round, static_cast<int64_t>(line.size()),
       [&] { return write(log_, line.data(), line.size()); });
}

void Worker::Check(uint64_t round) {
  ExpectContents(round, "c", "a");
  ExpectContents(round, "x", "a");
  ExpectContents(round, "data",
                 std::string("0\0\0"
                             "34567ab",
                             10));
  ExpectContents(round, "copy",
                 std::string("\0"
                             "34567ab",
                             8));
  ExpectContents(round, "t", "t");
}

void Worker::RemoveRound(uint64_t round) {
  for (const char* name : {"c", "x", "data", "copy", "t", "s", "p"})
    Call(name, round, 0, [&] { return unlink(At(round, name).c_str()); });
  Call("rmdir", round, 0, [&] { return rmdir(At(round, "").c_str()); });
}

void Worker::Run() {
  Call("mkdir", 0, 0, [&] { return mkdir(own_.c_str(), 0755); });
  log_ = Opened("open the log", 0,
                [&] { return open(shared_log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644); });
  for (uint64_t round = 0; !shared_->finish; ++round) {
    Call("mkdir", round, 0, [&] { return mkdir(At(round, "").c_str(), 0755); });
    Names(round);
    Contents(round);
    Xattrs(round);
    Unnamed(round);
    Log(round);
    Check(round);
    if (round >= kKeptRounds) RemoveRound(round - kKeptRounds);
    shared_->rounds = round + 1;
  }
  const uint64_t rounds = shared_->rounds;
  for (uint64_t round = rounds - std::min(rounds, kKeptRounds); round < rounds; ++round)
    Check(round);
}

}  // namespace

PersistentWork::PersistentWork(const std::filesystem::path& directory, uint32_t number) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("mmap failed");
  shared_ = static_cast<Shared*>(memory);
  Worker worker(directory.string(), number, shared_);
  process_ = fork();
  if (process_ < 0) throw std::runtime_error("fork failed");
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    worker.Run();
    _exit(0);
  }
}

PersistentWork::~PersistentWork() {
  Finish();
  munmap(shared_, sizeof(Shared));
}

PersistentWork::Result PersistentWork::Finish() {
  shared_->finish = true;
  // A process id that is not one would mean every process there is.
  if (process_ > 0 && !ended_) Wait();
  Result result;
  result.problem = shared_->problem;
  if (hangs_) result.problem = "hangs";
  if (result.problem.empty() && status_ != 0) result.problem = "ended by itself";
  result.rounds = shared_->rounds;
  result.calls = shared_->calls;
  result.longest_seconds = static_cast<double>(shared_->longest_us) / 1e6;
  return result;
}

void PersistentWork::Wait() {
  constexpr std::chrono::seconds kPatience{60};
  const auto end = Clock::now() + kPatience;
  while (waitpid(process_, &status_, WNOHANG) == 0) {
    if (!hangs_ && Clock::now() > end) {
      hangs_ = true;
      if (process_ > 0) kill(process_, SIGKILL);  // -1 would be everybody
    }
    // In a call that even that does not end.
    if (hangs_ && Clock::now() > end + kPatience) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ended_ = true;
}

uint64_t PersistentWork::rounds() const { return shared_->rounds; }
bool PersistentWork::failed() const { return shared_->failed; }

std::string PersistentWork::problem() const { return shared_->problem; }

std::string PersistentWork::LogLine(uint32_t worker, uint64_t number) {
  return std::to_string(worker) + " " + std::to_string(number) + "\n";
}

}  // namespace rw::testing
