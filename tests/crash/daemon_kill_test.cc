// Goal: programs do not notice that the daemon was killed, again and again, under load: no call
// returns an error, what was acknowledged is there, and nothing is done twice.
//
// Method: the real daemon and its supervisor, a mounted volume, and several processes that check
// what each of their calls returns (tests/support/persistent_work.h). The daemon, not the
// supervisor, gets SIGKILL, SIGSEGV or SIGABRT at random moments, also while it is just coming
// back. REWIND_SEED repeats one seed, REWIND_KILLS sets how often.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <thread>

#include "fs/store.h"
#include "fs/volume.h"
#include "plugin/mount_info.h"
#include "tests/support/daemon_process.h"
#include "tests/support/persistent_work.h"
#include "tests/support/random.h"
#include "tests/support/system_clock.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kWorkers = 4;

void SleepFor(uint64_t milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

class DaemonKillTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
  }

  void Begin(std::map<std::string, std::string> environment = {}) {
    daemon_ = std::make_unique<DaemonProcess>(std::move(environment));
    ASSERT_EQ(daemon_->Post("VolumeDriver.Create", {{"Name", "v"}})["Err"], "");
    mountpoint_ = Mount("id");
    ASSERT_TRUE(IsMounted(mountpoint_));
  }

  std::string Mount(const std::string& id) {
    const auto answer = daemon_->Post("VolumeDriver.Mount", {{"Name", "v"}, {"ID", id}});
    EXPECT_EQ(answer["Err"], "") << daemon_->log();
    return answer["Mountpoint"];
  }
  void Unmount(const std::string& id) {
    const auto answer = daemon_->Post("VolumeDriver.Unmount", {{"Name", "v"}, {"ID", id}});
    EXPECT_EQ(answer["Err"], "") << daemon_->log();
  }

  void StartWork() {
    for (uint32_t i = 0; i < kWorkers; ++i)
      work_.push_back(std::make_unique<PersistentWork>(mountpoint_, i));
  }

  void FinishWork() {
    uint64_t calls = 0;
    double longest = 0;
    std::vector<uint64_t> rounds;
    for (const auto& work : work_) {
      const PersistentWork::Result result = work->Finish();
      EXPECT_EQ(result.problem, "") << daemon_->log();
      rounds.push_back(result.rounds);
      calls += result.calls;
      longest = std::max(longest, result.longest_seconds);
    }
    work_.clear();
    std::cout << calls << " calls; the longest took " << longest << " s" << std::endl;
    CheckLog(rounds);
  }

  // Of each worker, every number once and in order.
  void CheckLog(const std::vector<uint64_t>& rounds) {
    std::ifstream log(mountpoint_ + "/log");
    std::vector<uint64_t> next(kWorkers);
    uint32_t worker = 0;
    for (uint64_t number = 0; log >> worker >> number;) {
      ASSERT_LT(worker, kWorkers);
      ASSERT_EQ(number, next[worker]) << "of worker " << worker;
      ++next[worker];
    }
    EXPECT_EQ(next, rounds);
  }

  // Ends everything in order; then the volume has to be sound, and no inode may be left over.
  void StopAndCheck() {
    Unmount("id");
    EXPECT_FALSE(IsMounted(mountpoint_));
    EXPECT_EQ(daemon_->Stop(), 0) << daemon_->log();
    auto store = Store::Open({daemon_->root(), SystemNanoseconds});
    const auto volume = store->OpenVolume("v");
    const CollectedTree tree = CollectTree(*volume);
    EXPECT_EQ(tree.ProblemText(), "");
    EXPECT_EQ(volume->Unlinked().size(), 0u);
    EXPECT_EQ(volume->Usage().live_bytes, tree.allocated);
  }

  void KillAtRandom(uint64_t kills, Random random) {
    constexpr int kSignals[] = {SIGKILL, SIGKILL, SIGKILL, SIGSEGV, SIGABRT};
    for (uint64_t i = 0; i < kills; ++i) {
      if (random.OneIn(4)) {
        SleepFor(random.Below(100));  // while it is coming back
      } else {
        EXPECT_EQ(daemon_->Command({"ls"}).exit_code, 0);  // it is back
        SleepFor(random.Below(1500));
      }
      daemon_->EndDaemon(random.Pick(kSignals));
      for (const auto& work : work_) ASSERT_FALSE(work->failed()) << work->problem();
    }
  }

  std::unique_ptr<DaemonProcess> daemon_;
  std::string mountpoint_;
  std::vector<std::unique_ptr<PersistentWork>> work_;
};

TEST_F(DaemonKillTest, NobodyNotices) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1);
  const uint64_t kills = NumberFromEnvironment("REWIND_KILLS", 12);
  std::cout << "seed " << seed << ", " << kills << " kills" << std::endl;
  Begin();
  StartWork();
  KillAtRandom(kills, Random(seed));
  FinishWork();
  StopAndCheck();
}

TEST_F(DaemonKillTest, NobodyNoticesOnKernelsThatDoNotSendAgain) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 2);
  const uint64_t kills = NumberFromEnvironment("REWIND_KILLS", 12);
  std::cout << "seed " << seed << ", " << kills << " kills" << std::endl;
  Begin({{"REWIND_WITHOUT_RESEND", "1"}});
  StartWork();
  KillAtRandom(kills, Random(seed));
  FinishWork();
  StopAndCheck();
}

TEST_F(DaemonKillTest, WhoHoldsAMountIsKnownAfterwards) {
  Begin();
  Mount("id");
  Mount("other");
  daemon_->EndDaemon(SIGKILL);
  EXPECT_EQ(Mount("third"), mountpoint_);
  EXPECT_THAT(daemon_->Post("VolumeDriver.Remove", {{"Name", "v"}})["Err"].get<std::string>(),
              HasSubstr("other"));
  daemon_->EndDaemon(SIGKILL);
  Unmount("other");
  Unmount("third");
  Unmount("id");
  EXPECT_TRUE(IsMounted(mountpoint_));
  daemon_->EndDaemon(SIGKILL);
  StopAndCheck();
}

TEST_F(DaemonKillTest, FilesWithoutANameLiveUntilTheyAreClosed) {
  Begin();
  const std::string path = mountpoint_ + "/file";
  const int kept = open(path.c_str(), O_CREAT | O_RDWR, 0600);
  const int closed = open((path + "2").c_str(), O_CREAT | O_RDWR, 0600);
  ASSERT_EQ(write(kept, "kept", 4), 4);
  unlink(path.c_str());
  unlink((path + "2").c_str());
  daemon_->EndDaemon(SIGKILL);
  char found[4];
  EXPECT_EQ(pread(kept, found, 4, 0), 4);
  EXPECT_EQ(pwrite(kept, "more", 4, 4), 4);
  close(closed);
  close(kept);
  daemon_->EndDaemon(SIGKILL);  // with forgets that nobody has read
  StopAndCheck();
}

TEST_F(DaemonKillTest, OpenFilesOfThePastStayReadable) {
  Begin();
  const std::string path = mountpoint_ + "/file";
  std::ofstream(path) << "then";
  const std::string then = daemon_->Command({"now", "v"}).out;
  std::ofstream(path) << "now";
  const std::string view = mountpoint_ + "/.rewind/" + then.substr(0, then.find('\n'));
  const int directory = open(view.c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_GE(directory, 0);
  for (int i = 0; i < 2; ++i) {
    daemon_->EndDaemon(SIGKILL);
    const int fd = openat(directory, "file", O_RDONLY);
    ASSERT_GE(fd, 0);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    char found[5] = {};
    EXPECT_EQ(pread(fd, found, 4, 0), 4);
    EXPECT_STREQ(found, "then");
    close(fd);
  }
  close(directory);
  StopAndCheck();
}

TEST_F(DaemonKillTest, MountsOfFixedViewsGoOn) {
  Begin();
  std::ofstream(mountpoint_ + "/file") << "text";
  ASSERT_EQ(daemon_->Post("VolumeDriver.Create",
                          {{"Name", "s"}, {"Opts", {{"snapshot-of", "v"}}}})["Err"],
            "")
      << daemon_->log();
  const auto answer = daemon_->Post("VolumeDriver.Mount", {{"Name", "s"}, {"ID", "id"}});
  const std::string snapshot = answer["Mountpoint"];
  daemon_->EndDaemon(SIGKILL);
  std::ifstream file(snapshot + "/file");
  std::string text;
  file >> text;
  EXPECT_EQ(text, "text");
  file.close();
  EXPECT_EQ(daemon_->Post("VolumeDriver.Unmount", {{"Name", "s"}, {"ID", "id"}})["Err"], "");
  EXPECT_FALSE(IsMounted(snapshot));
  StopAndCheck();
}

TEST_F(DaemonKillTest, RequestsWaitForTheNextDaemon) {
  Begin();
  daemon_->EndDaemon(SIGKILL);
  EXPECT_EQ(daemon_->Command({"ls"}).exit_code, 0);
  StopAndCheck();
}

TEST_F(DaemonKillTest, ADaemonThatFailsAgainAndAgainIsTriedEverMoreSeldom) {
  Begin();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 5; ++i) daemon_->EndDaemon(SIGKILL);
  EXPECT_GT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(100 + 200));
  StopAndCheck();
  EXPECT_THAT(daemon_->log(), HasSubstr("killed by SIGKILL"));
  EXPECT_THAT(daemon_->log(), HasSubstr("which starts in 400 ms"));
}

TEST_F(DaemonKillTest, AHungDaemonIsFoundAndReplaced) {
  Begin({{"REWIND_WATCHDOG_SECONDS", "3"}});
  kill(daemon_->daemon(), SIGSTOP);
  std::ofstream file(mountpoint_ + "/file");  // waits
  file << "text" << std::flush;
  EXPECT_TRUE(file.good());
  file.close();
  EXPECT_THAT(daemon_->log(), HasSubstr("has not answered for 3 s"));
  StopAndCheck();
}

TEST_F(DaemonKillTest, AHangupReplacesTheDaemonByTheProgramThatIsThereNow) {
  Begin();
  StartWork();
  const pid_t before = daemon_->daemon();
  kill(daemon_->pid(), SIGHUP);
  while (kill(before, 0) == 0) SleepFor(1);
  EXPECT_EQ(daemon_->Command({"ls"}).exit_code, 0);
  EXPECT_THAT(daemon_->log(), HasSubstr("replacing the daemon by " REWIND_BINARY));
  FinishWork();
  StopAndCheck();
}

TEST_F(DaemonKillTest, TheDaemonEndsWithItsSupervisor) {
  Begin();
  EXPECT_NO_THROW(daemon_->Kill());  // returns when both are gone
  umount2(mountpoint_.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace rw::testing
