// A daemon with a mounted volume on which several processes work that check what each of their
// calls returns.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "fs/store.h"
#include "fs/volume.h"
#include "tests/support/daemon_process.h"
#include "tests/support/persistent_work.h"
#include "tests/support/system_clock.h"
#include "tests/support/tree.h"

namespace rw::testing {

inline constexpr uint32_t kWorkingProcesses = 4;

class WorkingDaemonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
  }

  void Begin(std::map<std::string, std::string> environment = {},
             const std::filesystem::path& program = REWIND_BINARY) {
    daemon_ = std::make_unique<DaemonProcess>(std::move(environment), program);
    Create("v");
    mountpoint_ = Mount("id");
    if (!IsMounted(mountpoint_)) throw std::runtime_error("nothing is mounted");
  }

  void Create(const std::string& name) {
    const auto answer = daemon_->Post("VolumeDriver.Create", {{"Name", name}});
    if (!answer["Err"].get<std::string>().empty()) throw std::runtime_error(answer.dump());
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

  void StartWork(uint32_t processes = kWorkingProcesses) {
    for (uint32_t i = 0; i < processes; ++i)
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
    std::vector<uint64_t> next(rounds.size());
    uint32_t worker = 0;
    for (uint64_t number = 0; log >> worker >> number;) {
      ASSERT_LT(worker, rounds.size());
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

  std::unique_ptr<DaemonProcess> daemon_;
  std::string mountpoint_;
  std::vector<std::unique_ptr<PersistentWork>> work_;
};

}  // namespace rw::testing
