// Goal: when the data disk fails a call, or many, whoever asked gets the disk's errno, nothing that
// was acknowledged is lost, and the volume goes on when the disk does; after a failed sync it says
// that it has to be opened again, and goes on then.
//
// Method: random operations on a volume beside its model, over a file layer that fails the n-th
// call that changes something, once or for a while, with EIO or ENOSPC; for each n. Then the disk
// heals, more operations follow, and the store is opened again over a sound disk. REWIND_OPS: how
// many n; REWIND_SEED: the operations.
#include <errno.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "fs/store.h"
#include "metadata/refused.h"
#include "tests/support/faulty_files.h"
#include "tests/support/random_operations.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/twin.h"

namespace rw::testing {
namespace {

constexpr int kOperations = 80;
constexpr int kOperationsBetweenSyncs = 7;

class DiskErrorTest : public ::testing::Test {
 protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  void TearDown() override { spdlog::set_level(spdlog::level::info); }

  void Open(const std::filesystem::path& root) {
    StoreOptions options(root, SystemNanoseconds, &files_);
    options.max_segment_bytes = 64 << 10;  // so that segments are begun and sealed, too
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    store_ = Store::Open(std::move(options));
  }
  void MakeVolume() {
    CreateRequest request;
    request.name = "v";
    store_->Create(request);
    const auto root = store_->OpenVolume("v")->FindInode(kRootIno);
    twin_.emplace(Twin{"v",
                       nullptr,
                       ReferenceModel(store_->Find("v")->created, *root),
                       {{kModelRoot, kRootIno}},
                       true});
  }

  // One operation; what the disk refuses changes nothing. Returns what is wrong.
  std::string Step(const Operation& operation, int error) {
    if (twin_->volume == nullptr) {
      try {
        twin_->volume = store_->OpenVolume("v");
      } catch (const Refused& refused) {
        return refused.error() == error ? "" : std::string("open: ") + refused.what();
      }
    }
    Volume& volume = *twin_->volume;
    const uint64_t failed = files_.failed();
    const Instant before = volume.last_instant();
    Ino created = 0;
    std::string problem;
    const int actual = ApplyToVolume(volume, twin_->inos, operation, &created, &problem);
    const bool broken = files_.failed_syncs() > failed_syncs_before_;
    if ((actual == error && files_.failed() > failed) || (actual == EIO && broken))
      return volume.last_instant() == before ? "" : "what the disk refused took an instant";
    const std::string difference = twin_->Follow(operation, before, actual, created);
    return difference.empty() ? problem : difference;
  }
  // False if it was refused.
  bool Sync() {
    try {
      if (twin_->volume != nullptr) twin_->volume->Sync();
      return true;
    } catch (const Refused&) {
      return false;
    }
  }

  TempDir dir_;
  FaultyFiles files_;
  std::unique_ptr<Store> store_;
  std::optional<Twin> twin_;
  uint64_t failed_syncs_before_ = 0;  // this time
};

TEST_F(DiskErrorTest, HealthSaysWhichVolumeTakesNoWrites) {
  Open(dir_.path() / "root");
  MakeVolume();
  const auto volume = store_->OpenVolume("v");
  const Ino file = volume->Create({}, kRootIno, "file", S_IFREG | 0644).ino;
  EXPECT_FALSE(store_->Health().broken.contains("v"));
  files_.FailFrom(1, UINT64_MAX, EROFS);
  EXPECT_THROW(volume->Write({}, file, 0, "refused", false), Refused);
  EXPECT_TRUE(store_->Health().broken.contains("v"));
  files_.Heal();
  volume->Write({}, file, 0, "written", false);
  EXPECT_FALSE(store_->Health().broken.contains("v"));
}

TEST_F(DiskErrorTest, WhatFailsIsAsIfItHadNeverBeenAndTheVolumeGoesOn) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1);
  const uint64_t count = NumberFromEnvironment("REWIND_OPS", 40);
  std::cout << "seed " << seed << std::endl;
  uint64_t failures = 0, reopened = 0;
  for (uint64_t n = 1; n <= count; ++n) {
    for (const int error : {EIO, ENOSPC}) {
      const uint64_t length = n % 3 == 0 ? 5 : n % 3;
      SCOPED_TRACE("seed " + std::to_string(seed) + ", " + std::to_string(length) +
                   " calls fail from the " + std::to_string(n) + "th on with " +
                   (error == EIO ? "EIO" : "ENOSPC"));
      const auto root = dir_.path() / (std::to_string(n) + "-" + std::to_string(error));
      const uint64_t failed_before = files_.failed();
      failed_syncs_before_ = files_.failed_syncs();
      files_.Heal();
      Open(root);
      MakeVolume();
      RandomOperations operations(seed, {.max_write = 30'000, .max_xattr = 300, .max_inodes = 30});
      files_.FailFrom(n, length, error);
      bool synced = true;
      for (int i = 0; i < kOperations; ++i) {
        ASSERT_EQ(Step(operations.Next(twin_->model), error), "") << "operation " << i;
        if (i % kOperationsBetweenSyncs == 0) synced = Sync() && synced;
      }
      files_.Heal();
      // Only a failed sync needs a new beginning, and says so.
      if (!synced || !Sync()) {
        ASSERT_GT(files_.failed_syncs(), failed_syncs_before_);
        ++reopened;
        twin_->volume.reset();
        twin_->volume = store_->OpenVolume("v");
      }
      for (int i = 0; i < 10; ++i) {
        const std::string problem = Step(operations.Next(twin_->model), 0);
        ASSERT_EQ(problem, "") << "after the disk has healed";
      }
      ASSERT_TRUE(Sync());
      ASSERT_EQ(twin_->CheckView(*twin_->volume, kInstantMax), "");
      twin_->volume.reset();
      store_.reset();
      Open(root);
      ASSERT_EQ(twin_->CheckView(*store_->OpenVolume("v"), kInstantMax), "");
      ASSERT_TRUE(store_->Check({}).sound());
      store_.reset();
      std::filesystem::remove_all(root);
      failures += files_.failed() - failed_before;
      if (files_.failed() == failed_before) n = count;  // the disk was never asked so often
    }
  }
  EXPECT_GT(failures, 30U);
  std::cout << failures << " failed calls, " << reopened << " times opened again" << std::endl;
}

}  // namespace
}  // namespace rw::testing
