// Goal: a mount of which nothing is asked gives back the memory that it receives requests into, and
// answers nevertheless; one that is used less than it was keeps less; and no request is lost where
// threads rest and are called again and again.
//
// Method: real mounts whose time until they rest is nothing or a millisecond, looked at all the
// time. Memory is what the kernel says that the requests' file holds. Programs that check what they
// read work on the mount in bursts, between which it is at rest or just going there. REWIND_SEED
// repeats one seed, REWIND_OPS sets how many calls each makes.
#include "fs/session_threads.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fs/request_board.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/random.h"

namespace rw::testing {
namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr uint64_t kRestingBytes = RequestBoard::kBufferBytes / 2;

template <typename Condition>
bool Eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Looks after a session, as the daemon does, only more often.
class Looker {
 public:
  explicit Looker(Session& session)
      : thread_([this, &session] {
          while (!ended_) {
            session.Probe();
            std::this_thread::sleep_for(std::chrono::microseconds(200));
          }
        }) {}
  ~Looker() {
    ended_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

class SessionThreadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
  }
  void TearDown() override { unsetenv("REWIND_REST_AFTER_MS"); }

  void Mount(const char* rest_after_ms) {
    setenv("REWIND_REST_AFTER_MS", rest_after_ms, 1);
    store_ = Store::Open({root_.path()});
    CreateRequest request;
    request.name = "volume";
    store_->Create(request);
    mounted_.emplace(*store_, "volume");
    looker_.emplace(mounted_->session());
  }

  std::string Path(const std::string& name) const { return mounted_->path() + "/" + name; }

  uint64_t Memory() {
    struct stat status {};
    fstat(mounted_->session().remains()->board, &status);
    return static_cast<uint64_t>(status.st_blocks) * 512;
  }
  bool ComesToRest() {
    return Eventually([this] { return Memory() < kRestingBytes; });
  }

  // Nothing of it is cached.
  int Open(const std::string& name) {
    const int fd = open(Path(name).c_str(), O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
    EXPECT_GE(fd, 0) << std::strerror(errno);
    return fd;
  }

  TempDir root_;
  std::unique_ptr<Store> store_;
  std::optional<MountedVolume> mounted_;
  std::optional<Looker> looker_;
};

TEST_F(SessionThreadsTest, AMountThatNobodyUsesGivesItsMemoryBackAndAnswers) {
  Mount("0");
  const int fd = Open("file");
  for (char round = 'a'; round < 'k'; ++round) {
    ASSERT_TRUE(ComesToRest()) << Memory() << " bytes";
    const std::string written(1 << 20, round);
    ASSERT_EQ(pwrite(fd, written.data(), written.size(), 0), static_cast<ssize_t>(written.size()));
    std::string found(written.size(), '\0');
    ASSERT_EQ(pread(fd, found.data(), found.size(), 0), static_cast<ssize_t>(found.size()));
    ASSERT_TRUE(found == written);
  }
  close(fd);
}

TEST_F(SessionThreadsTest, AMountAtRestEnds) {
  Mount("0");
  ASSERT_TRUE(ComesToRest());
  looker_.reset();
  mounted_.reset();
}

// Whose connection does not end with it, so that each thread has to be told.
TEST_F(SessionThreadsTest, AMountAtRestEndsThoughSomebodyHoldsIt) {
  Mount("0");
  const int fd = Open("file");
  ASSERT_TRUE(ComesToRest());
  looker_.reset();
  mounted_.reset();
  close(fd);
}

TEST_F(SessionThreadsTest, WhatWasAskedAllAtOnceDoesNotCostForEver) {
  Mount("50");
  constexpr size_t kPrograms = 8;
  {
    std::atomic<bool> enough{false};
    std::vector<std::jthread> programs;
    for (size_t i = 0; i < kPrograms; ++i) {
      programs.emplace_back([this, i, &enough] {
        const int fd = Open("file" + std::to_string(i));
        const std::string bytes(1 << 20, 'x');
        while (!enough) {
          EXPECT_EQ(pwrite(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
          EXPECT_EQ(fsync(fd), 0);
        }
        close(fd);
      });
    }
    EXPECT_TRUE(Eventually([this] { return Memory() > 6 * RequestBoard::kBufferBytes; }));
    enough = true;
  }
  // It is never at rest, but for one program few threads will do: some that have answered and are
  // not at their ends, one that works on what was asked since, and one that waits.
  const int fd = Open("file");
  char block[4096] alignas(4096) = {};
  EXPECT_TRUE(Eventually([&] {
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(pwrite(fd, block, sizeof(block), 0), ssize_t{sizeof(block)});
    }
    return Memory() < 5 * RequestBoard::kBufferBytes;
  })) << Memory()
      << " bytes";
  close(fd);
}

// A program with a file of its own, of which it knows what is in each block.
class Program {
 public:
  Program(int fd, uint64_t seed) : fd_(fd), random_(seed) {}
  ~Program() { close(fd_); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void Call() {
    const uint64_t block = random_.Below(kBlocks);
    alignas(4096) char bytes[4096];
    if (random_.OneIn(8)) {
      EXPECT_EQ(fdatasync(fd_), 0);
    } else if (random_.OneIn(2)) {
      std::memset(bytes, ++written_[block], sizeof(bytes));
      EXPECT_EQ(pwrite(fd_, bytes, sizeof(bytes), Offset(block)), ssize_t{sizeof(bytes)});
      if (block >= end_) end_ = block + 1;
    } else if (block < end_) {
      EXPECT_EQ(pread(fd_, bytes, sizeof(bytes), Offset(block)), ssize_t{sizeof(bytes)});
      EXPECT_EQ(bytes[0], written_[block]) << "block " << block;
      EXPECT_EQ(bytes[sizeof(bytes) - 1], written_[block]) << "block " << block;
    }
  }

 private:
  static constexpr uint64_t kBlocks = 64;
  static off_t Offset(uint64_t block) { return static_cast<off_t>(block * 4096); }

  const int fd_;
  Random random_;
  char written_[kBlocks] = {};
  uint64_t end_ = 0;
};

TEST_F(SessionThreadsTest, NoRequestIsLostBetweenRestAndWork) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1);
  const uint64_t calls = NumberFromEnvironment("REWIND_OPS", 6000);
  std::cout << "seed " << seed << ", " << calls << " calls each" << std::endl;
  Mount("0");
  constexpr ptrdiff_t kPrograms = 4;
  // Between two bursts the mount comes to rest, or only begins to.
  std::barrier between(kPrograms, [this, random = Random(seed)]() mutable noexcept {
    if (random.OneIn(2)) {
      EXPECT_TRUE(ComesToRest()) << Memory() << " bytes";
    }
  });
  {
    std::vector<std::jthread> programs;
    for (ptrdiff_t i = 0; i < kPrograms; ++i) {
      programs.emplace_back([&, i] {
        Program program(Open("file" + std::to_string(i)), seed * 100 + static_cast<uint64_t>(i));
        Random bursts(seed);  // alike for all
        for (uint64_t done = 0; done < calls && !HasFatalFailure();) {
          const uint64_t burst = bursts.OneIn(4) ? 200 : 1 + bursts.Below(10);
          for (uint64_t j = 0; j < burst; ++j) program.Call();
          done += burst;
          between.arrive_and_wait();
        }
      });
    }
  }
  ASSERT_TRUE(ComesToRest());
}

}  // namespace
}  // namespace rw::testing
