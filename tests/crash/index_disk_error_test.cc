// Goal: when the disk fails the index, or fails to read, whoever asked gets the disk's errno, what
// was done is what is there, and everything goes on when the disk does; the index is not taken for
// damaged.
//
// Method: random operations on a volume beside its model, over an index with small memtables whose
// file layer fails the n-th call that changes something, once or until it heals, with EIO or
// ENOSPC; for each n. An operation that was answered with an error may have been done, and is known
// to have been or not as soon as the disk has healed. Then reads fail, of index and journals: each
// answer is right or EIO. REWIND_OPS: how many n; REWIND_SEED: the operations.
#include <errno.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <iostream>
#include <optional>
#include <thread>

#include "fs/store.h"
#include "fs/view_volume.h"
#include "metadata/index.h"
#include "metadata/keys.h"
#include "metadata/refused.h"
#include "tests/support/faulty_files.h"
#include "tests/support/random_operations.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tolerant_reader.h"
#include "tests/support/tree.h"
#include "tests/support/twin.h"

namespace rw::testing {
namespace {

constexpr int kOperations = 500;
constexpr uint64_t kUntilHealed = 1'000'000;
constexpr size_t kMemtableBytes = 64 << 10;

class IndexDiskErrorTest : public ::testing::Test {
 protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  void TearDown() override {
    if (twin_) twin_->volume.reset();
    store_.reset();
    spdlog::set_level(spdlog::level::info);
  }

  void Open(const std::filesystem::path& root) {
    if (twin_) twin_->volume.reset();
    store_.reset();
    StoreOptions options(root, SystemNanoseconds, &files_);
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    options.index.memtable_bytes = kMemtableBytes;
    options.index.files = MakeFaultyFileSystem(&index_);
    store_ = Store::Open(std::move(options));
  }
  void MakeVolume() {
    CreateRequest request;
    request.name = "v";
    store_->Create(request);
    auto volume = store_->OpenVolume("v");
    const auto root = volume->FindInode(kRootIno);
    twin_.emplace(Twin{"v",
                       std::move(volume),
                       ReferenceModel(store_->Find("v")->created, *root),
                       {{kModelRoot, kRootIno}},
                       true});
  }

  // Nothing if the disk does not allow it.
  std::optional<Tree> TreeAt(Instant at) {
    try {
      return CollectTree(*store_->OpenAt("v", at)).tree;
    } catch (const Refused&) {
      return std::nullopt;
    }
  }

  // One operation. What the disk has refused is looked at when it has healed; what a view of that
  // moment shows must not depend on that.
  std::string Step(const Operation& operation, int error) {
    Volume& volume = *twin_->volume;
    const uint64_t failed = index_.failed();
    const Instant before = volume.last_instant();
    Ino created = 0;
    std::string problem;
    int actual = ApplyToVolume(volume, twin_->inos, operation, &created, &problem);
    if (actual != 0 && actual == error && index_.failed() > failed) {
      ++refused_;
      const Instant at = store_->Now();
      const auto seen = TreeAt(at);
      index_.Heal();
      dynamic_cast<ViewVolume&>(volume).WaitForOperations();
      const std::string change = seen ? Difference(*seen, TreeAt(at).value()) : "";
      if (!change.empty()) return "a view shows something else: " + change;
      if (volume.last_instant() == before) return {};
      ++done_;
      actual = 0;
      problem.clear();
      created = FindCreated(volume, twin_->inos, operation).value_or(0);
    }
    const std::string difference = twin_->Follow(operation, before, actual, created);
    return difference.empty() ? problem : difference;
  }

  TempDir dir_;
  FaultyFiles files_;
  FailingCalls index_;
  std::unique_ptr<Store> store_;
  std::optional<Twin> twin_;
  uint64_t refused_ = 0, done_ = 0;
};

TEST_F(IndexDiskErrorTest, WhatFailsIsDoneOrNotAndTheVolumeGoesOn) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1);
  const uint64_t count = NumberFromEnvironment("REWIND_OPS", 15);
  std::cout << "seed " << seed << std::endl;
  for (uint64_t n = 1; n <= count; ++n) {
    for (const int error : {EIO, ENOSPC}) {
      const uint64_t length = n % 3 == 0 ? kUntilHealed : n % 3;
      SCOPED_TRACE("seed " + std::to_string(seed) + ", from the " + std::to_string(n) +
                   "th on, calls fail with " + (error == EIO ? "EIO" : "ENOSPC") + ": " +
                   std::to_string(length));
      const auto root = dir_.path() / (std::to_string(n) + "-" + std::to_string(error));
      index_.Heal();
      Open(root);
      MakeVolume();
      RandomOperations operations(seed + n, {.max_write = 3000, .max_xattr = 300});
      // RocksDB writes when it likes, but takes no more than so much before it does.
      const uint64_t failed = index_.failed();
      index_.FailFrom(n, length, error);
      for (int i = 0; i < kOperations || index_.failed() == failed; ++i)
        ASSERT_EQ(Step(operations.Next(twin_->model), error), "") << "operation " << i;
      index_.Heal();
      for (int i = 0; i < 10; ++i) {
        ASSERT_EQ(Step(operations.Next(twin_->model), 0), "") << "after the disk has healed";
      }
      ASSERT_NO_THROW(twin_->volume->Sync());
      ASSERT_EQ(twin_->CheckView(*twin_->volume, kInstantMax), "");
      Open(root);
      ASSERT_EQ(twin_->CheckView(*store_->OpenVolume("v"), kInstantMax), "");
      ASSERT_TRUE(store_->Check({}).sound());
    }
  }
  EXPECT_GT(index_.failed(), 0U);
  std::cout << index_.failed() << " failed calls, " << refused_ << " operations refused, of which "
            << done_ << " were done" << std::endl;
}

TEST_F(IndexDiskErrorTest, WhatCannotBeReadIsAnErrorUntilItCan) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1);
  const auto root = dir_.path() / "root";
  Open(root);
  MakeVolume();
  RandomOperations operations(seed, {.max_write = 30'000, .max_xattr = 300});
  std::vector<Instant> instants;
  for (int i = 0; i < 3 * kOperations; ++i) {
    ASSERT_EQ(Step(operations.Next(twin_->model), 0), "");
    if (i % kOperations == kOperations / 2) instants.push_back(store_->Now());
  }
  for (const bool of_index : {false, true}) {
    SCOPED_TRACE(of_index ? "of the index" : "of all else");
    Open(root);  // with nothing in memory
    FailingCalls& disk = of_index ? index_ : files_;
    const auto volume = store_->OpenVolume("v");
    disk.FailReads(true);
    TolerantResult result = ReadTolerantly(*volume, *twin_, kInstantMax);
    EXPECT_EQ(result.lie, "");
    EXPECT_GT(result.errors, 0U);
    disk.FailReads(false);
    result = ReadTolerantly(*volume, *twin_, kInstantMax);
    EXPECT_EQ(result.lie, "");
    EXPECT_EQ(result.errors, 0U) << *result.lines.begin();
    for (const Instant at : instants) EXPECT_EQ(twin_->CheckView(*store_->OpenAt("v", at), at), "");
    EXPECT_TRUE(store_->Check({}).sound());
  }
  EXPECT_FALSE(store_->Health().index_damaged);
}

// While a flush is under way more of them become due, and the next fails as the first has. A
// commit that waits forever is one that the time limit of tests finds.
TEST(IndexFlushTest, FailsTwiceAndIsDoneInTheEnd) {
  constexpr uint64_t kMostCalls = 16;  // of a flush
  constexpr uint64_t kCommits = 600;
  TempDir dir;
  for (uint64_t n = 1; n <= kMostCalls; ++n) {
    SCOPED_TRACE(n);
    FailingCalls disk;
    Index::Options options;
    options.path = dir.path() / std::to_string(n);
    options.tuning.memtable_bytes = kMemtableBytes;
    options.tuning.files = MakeFaultyFileSystem(&disk);
    options.before_flush = [] { std::this_thread::sleep_for(std::chrono::milliseconds(100)); };
    const auto index = Index::Open(options);
    disk.FailFrom(n, 2, EIO);
    for (uint64_t i = 1; i <= kCommits; ++i) {
      Mutations mutations;
      mutations.xattrs.push_back({Ino{i}, "user.x", std::string(1000, 'x')});
      for (bool done = false; !done;) {
        try {
          index->Commit(1, Instant{i}, mutations, {}, 0, std::nullopt);
          done = true;
        } catch (const Refused& error) {
          EXPECT_EQ(error.error(), EIO);
        }
      }
    }
    EXPECT_EQ(disk.failed(), 2U);
    for (uint64_t i = 1; i <= kCommits; ++i)
      ASSERT_TRUE(index->FindVersion(XattrPrefix(1, i, "user.x"), kInstantMax)) << i;
    index->Flush();
  }
}

}  // namespace
}  // namespace rw::testing
