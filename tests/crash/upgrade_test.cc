// Goal: a new program takes the place of the daemon and of its supervisor while programs work on
// the volumes, and nobody notices; one that cannot do it changes nothing.
//
// Method: the daemon is started from a copy of the binary. The copy is replaced by another one (a
// file of its own, so that one can tell what a process runs), or by scripts that fail at one step,
// and `rewind upgrade` is called under load. REWIND_SEED repeats one seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/random.h"
#include "tests/support/working_daemon.h"

namespace rw::testing {
namespace {

using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

class UpgradeTest : public WorkingDaemonTest {
 protected:
  void BeginFromACopy(std::map<std::string, std::string> environment = {}) {
    Install();
    Begin(std::move(environment), program());
    StartWork();
  }

  stdfs::path program() const { return directory_.path() / "rewind"; }

  // As package managers do it: the new file gets the old one's name.
  void Install() {
    const stdfs::path next = directory_.path() / "next";
    stdfs::copy_file(REWIND_BINARY, next);
    stdfs::rename(next, program());
  }
  void InstallScript(const std::string& script) {
    const stdfs::path next = directory_.path() / "next";
    std::ofstream(next) << "#!/bin/sh\n" << script << "\n";
    stdfs::permissions(next, stdfs::perms::owner_all);
    stdfs::rename(next, program());
  }

  bool RunsWhatIsInstalled(pid_t process) const {
    struct stat runs {
    }, installed{};
    return stat(("/proc/" + std::to_string(process) + "/exe").c_str(), &runs) == 0 &&
           stat(program().c_str(), &installed) == 0 && runs.st_ino == installed.st_ino;
  }

  // The supervisor follows when the daemon is ready, which is when the command returns.
  void WaitForTheSupervisor() const {
    for (int ms = 0; !RunsWhatIsInstalled(daemon_->pid()) && ms < 60'000; ++ms)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(RunsWhatIsInstalled(daemon_->pid())) << daemon_->log();
  }

  // As the engine does, whose connection breaks when the daemon is replaced.
  void AskUntilAnswered(const std::string& endpoint, const nlohmann::json& request) const {
    std::string answer;  // or the half of one
    while (!answer.ends_with('}')) answer = daemon_->Exchange(HttpPost(endpoint, request.dump()));
    EXPECT_THAT(answer, HasSubstr("\"Err\":\"\"")) << daemon_->log();
  }

  void ExpectNoUpgrade(const std::string& why) {
    const pid_t before = daemon_->pid();
    const RunResult result = daemon_->Command({"upgrade"});
    EXPECT_EQ(result.exit_code, 1) << result.out;
    EXPECT_THAT(result.err, HasSubstr(why));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
    EXPECT_EQ(daemon_->pid(), before);
    EXPECT_FALSE(RunsWhatIsInstalled(daemon_->pid()));
    EXPECT_FALSE(RunsWhatIsInstalled(daemon_->daemon()));
  }

  void Finish() {
    FinishWork();
    StopAndCheck();
  }

  TempDir directory_;
};

TEST_F(UpgradeTest, NobodyNotices) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1);
  std::cout << "seed " << seed << std::endl;
  Random random(seed);
  BeginFromACopy();
  for (int round = 0; round < 4; ++round) {
    Install();
    const pid_t before = daemon_->daemon();
    const RunResult result = daemon_->Command({"upgrade"});
    ASSERT_EQ(result.exit_code, 0) << result.err << daemon_->log();
    EXPECT_THAT(result.out, HasSubstr("was replaced by"));
    WaitForTheSupervisor();
    EXPECT_NE(daemon_->daemon(), before);
    EXPECT_TRUE(RunsWhatIsInstalled(daemon_->daemon()));
    // What was handed over is what the next daemon needs.
    if (random.OneIn(2)) daemon_->EndDaemon(SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(random.Below(500)));
  }
  Finish();
  EXPECT_THAT(daemon_->log(), HasSubstr("supervises the daemon from now on"));
}

TEST_F(UpgradeTest, WhatIsToldWhileTheSupervisorIsReplacedIsNotLost) {
  BeginFromACopy();
  for (int round = 0; round < 3; ++round) {
    Install();
    kill(daemon_->pid(), SIGHUP);
    const auto patience = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    for (int i = 0; !RunsWhatIsInstalled(daemon_->pid()); ++i) {
      ASSERT_LT(std::chrono::steady_clock::now(), patience) << daemon_->log();
      const nlohmann::json request{{"Name", "v"}, {"ID", "other" + std::to_string(i)}};
      AskUntilAnswered("VolumeDriver.Mount", request);
      AskUntilAnswered("VolumeDriver.Unmount", request);
    }
  }
  daemon_->EndDaemon(SIGKILL);
  Finish();
}

TEST_F(UpgradeTest, OnlyAnotherProgramIsAnUpgrade) {
  BeginFromACopy();
  const RunResult result = daemon_->Command({"upgrade"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("is what runs"));
  Finish();
}

TEST_F(UpgradeTest, AProgramThatCannotTakeOverChangesNothing) {
  BeginFromACopy();
  const pid_t before = daemon_->daemon();
  InstallScript("exit 3");
  ExpectNoUpgrade("cannot take over (exit code 3)");
  InstallScript("kill -SEGV $$");
  ExpectNoUpgrade("cannot take over (killed by SIGSEGV");
  stdfs::remove(program());
  EXPECT_EQ(daemon_->Command({"upgrade"}).exit_code, 1);
  EXPECT_EQ(daemon_->daemon(), before);
  Install();
  EXPECT_EQ(daemon_->Command({"upgrade"}).exit_code, 0) << daemon_->log();
  Finish();
}

TEST_F(UpgradeTest, IfTheNewDaemonDoesNotStartTheOneBeforeGoesOn) {
  BeginFromACopy();
  InstallScript("[ -n \"$REWIND_SUPERVISION_CHECK\" ] && exit 0; exit 5");
  ExpectNoUpgrade("did not start (exit code 5); the one before goes on");
  // Also where it gets as far as refusing to go on.
  InstallScript("exec '" + std::string(REWIND_BINARY) + "' serve --retention nonsense");
  ExpectNoUpgrade("cannot take over (exit code");
  Install();
  EXPECT_EQ(daemon_->Command({"upgrade"}).exit_code, 0) << daemon_->log();
  WaitForTheSupervisor();
  Finish();
}

TEST_F(UpgradeTest, ASecondUpgradeAtTheSameTimeIsRefused) {
  BeginFromACopy();
  // Longer than the command may take to ask; it ends with the supervisor.
  InstallScript("exec sleep 15");
  kill(daemon_->pid(), SIGHUP);
  // The signal may come second: then it is what is refused.
  const RunResult result = daemon_->Command({"upgrade"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(daemon_->log(), HasSubstr("one is under way"));
  Finish();
}

}  // namespace
}  // namespace rw::testing
