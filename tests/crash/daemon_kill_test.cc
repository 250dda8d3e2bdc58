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

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <thread>

#include "fs/store.h"
#include "fs/volume.h"
#include "plugin/mount_info.h"
#include "tests/support/daemon_process.h"
#include "tests/support/persistent_work.h"
#include "tests/support/random.h"
#include "tests/support/system_clock.h"
#include "tests/support/tree.h"
#include "tests/support/working_daemon.h"

namespace rw::testing {
namespace {

using ::testing::HasSubstr;

void SleepFor(uint64_t milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

// Sends SIGSTOP and returns when each thread has stopped: until then they may go on with their
// work.
void StopAllThreads(pid_t process) {
  kill(process, SIGSTOP);
  const auto is_stopped = [](const std::filesystem::directory_entry& task) {
    std::ifstream in(task.path() / "stat");
    std::string text((std::istreambuf_iterator<char>(in)), {});
    return text.find(") T ") != std::string::npos;
  };
  const std::filesystem::path tasks = "/proc/" + std::to_string(process) + "/task";
  for (int ms = 0; ms < 10'000; ++ms) {
    const std::filesystem::directory_iterator all(tasks);
    if (std::all_of(begin(all), end(all), is_stopped)) return;
    SleepFor(1);
  }
  throw std::runtime_error("a process does not stop");
}

class DaemonKillTest : public WorkingDaemonTest {
 protected:
  void KillAtRandom(uint64_t kills, Random random) {
    constexpr int kSignals[] = {SIGKILL, SIGKILL, SIGKILL, SIGSEGV, SIGABRT};
    for (uint64_t i = 0; i < kills; ++i) {
      if (random.OneIn(4)) {
        SleepFor(random.Below(100));  // while it is coming back
      } else {
        const RunResult listed = daemon_->Command({"ls"});  // it is back
        EXPECT_EQ(listed.exit_code, 0) << listed.err;
        SleepFor(random.Below(1500));
      }
      daemon_->EndDaemon(random.Pick(kSignals));
      for (const auto& work : work_) ASSERT_FALSE(work->failed()) << work->problem();
    }
  }
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

// Threads come to rest and back a thousand times a second, with the memory that they receive into
// going and coming, and signals among them.
TEST_F(DaemonKillTest, NobodyNoticesWhileThreadsRest) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 3);
  const uint64_t kills = NumberFromEnvironment("REWIND_KILLS", 8);
  std::cout << "seed " << seed << ", " << kills << " kills" << std::endl;
  Begin({{"REWIND_REST_AFTER_MS", "0"}});
  StartWork(2);
  KillAtRandom(kills, Random(seed));
  FinishWork();
  StopAndCheck();
}

TEST_F(DaemonKillTest, NobodyNoticesWhileThreadsRestOnKernelsThatDoNotSendAgain) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 4);
  const uint64_t kills = NumberFromEnvironment("REWIND_KILLS", 8);
  std::cout << "seed " << seed << ", " << kills << " kills" << std::endl;
  Begin({{"REWIND_REST_AFTER_MS", "0"}, {"REWIND_WITHOUT_RESEND", "1"}});
  StartWork(2);
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

TEST_F(DaemonKillTest, ARemovalThatIsAskedForAgainIsNoError) {
  Begin();
  Create("r");
  const auto remove = [this](const char* name) {
    return daemon_->Post("VolumeDriver.Remove", {{"Name", name}})["Err"].get<std::string>();
  };
  EXPECT_EQ(remove("r"), "");
  EXPECT_EQ(remove("r"), "");
  daemon_->EndDaemon(SIGKILL);
  EXPECT_EQ(remove("r"), "");
  EXPECT_THAT(remove("never"), HasSubstr("no such volume"));
  Create("r");
  EXPECT_EQ(remove("r"), "");
  EXPECT_EQ(daemon_->Command({"rm", "r"}).exit_code, 1) << "people are told";
  StopAndCheck();
}

// Each of them is waited for two seconds.
TEST_F(DaemonKillTest, ManyBusyMountsEndInTime) {
  Begin();
  std::vector<int> open_files;
  for (int i = 0; i < 12; ++i) {
    const std::string name = "busy" + std::to_string(i);
    Create(name);
    const std::string directory =
        daemon_->Post("VolumeDriver.Mount", {{"Name", name}, {"ID", "id"}})["Mountpoint"];
    open_files.push_back(open((directory + "/f").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    EXPECT_GE(open_files.back(), 0);
  }
  EXPECT_EQ(daemon_->Stop(), 0) << daemon_->log();
  EXPECT_THAT(daemon_->log(), HasSubstr("is busy; detaching it"));
  EXPECT_THAT(daemon_->log(), ::testing::Not(HasSubstr("does not end")));
  for (const int file : open_files) close(file);
}

TEST_F(DaemonKillTest, ADaemonThatSleptWithItsSupervisorIsNotTakenForHung) {
  Begin({{"REWIND_WATCHDOG_SECONDS", "8"}});
  const pid_t before = daemon_->daemon();
  kill(daemon_->pid(), SIGSTOP);
  kill(before, SIGSTOP);
  SleepFor(9000);
  kill(daemon_->pid(), SIGCONT);
  SleepFor(100);  // the supervisor is the first to look at the clock
  kill(before, SIGCONT);
  EXPECT_EQ(daemon_->Command({"ls"}).exit_code, 0);
  EXPECT_EQ(daemon_->daemon(), before) << daemon_->log();
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
  const char* const kDelayed = "which starts in 400 ms";
  for (int i = 0; i < 100 && daemon_->log().find(kDelayed) == std::string::npos; ++i)
    daemon_->EndDaemon(SIGKILL);
  StopAndCheck();
  EXPECT_THAT(daemon_->log(), HasSubstr("killed by SIGKILL"));
  EXPECT_THAT(daemon_->log(), HasSubstr(kDelayed));
}

TEST_F(DaemonKillTest, AHungDaemonIsFoundAndReplaced) {
  Begin({{"REWIND_WATCHDOG_SECONDS", "3"}});
  StopAllThreads(daemon_->daemon());
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
  for (int ms = 0; kill(before, 0) == 0 && ms < 60'000; ++ms) SleepFor(1);
  ASSERT_NE(kill(before, 0), 0) << "the daemon was not replaced";
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
