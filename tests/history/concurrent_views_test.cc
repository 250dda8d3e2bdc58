// Goal: a view of an instant that has passed does not move, however busy the volume is when it is
// opened, and equals the volume's history.
//
// Method: two threads write to one volume as fast as they can, each below a directory of its own;
// others take the instant "now", open views, snapshot volumes and clones of it and collect their
// trees several times. When all is quiet the same instants are looked at again.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "fs/store.h"
#include "fs/volume.h"
#include "tests/support/random_operations.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

constexpr int kWriters = 2;
constexpr int kLookers = 2;

struct Seen {
  Instant at;
  Tree tree;
};

class ConcurrentViewsTest : public ::testing::Test {
 protected:
  ConcurrentViewsTest() : store_(Store::Open({dir_.path() / "root", SystemNanoseconds})) {
    CreateRequest request;
    request.name = "busy";
    store_->Create(request);
    volume_ = store_->OpenVolume("busy");
  }

  void Fail(const std::string& problem) {
    const std::lock_guard lock(mutex_);
    if (problem_.empty()) problem_ = problem;
    stop_ = true;
  }

  // Renames, writes, links and unlinks between two names, so that half an operation would show.
  void Write(int number) {
    Random random(NumberFromEnvironment("REWIND_SEED", 1) + static_cast<uint64_t>(number));
    const Ino dir =
        volume_->Create({}, kRootIno, "writer-" + std::to_string(number), S_IFDIR | 0755).ino;
    for (uint64_t i = 0; !stop_; ++i) {
      const std::string name = std::to_string(random.Below(6));
      const std::string other = std::to_string(random.Below(6));
      const auto there = volume_->Lookup(dir, name);
      if (!there) {
        const Ino ino = volume_->Create({}, dir, name, S_IFREG | 0644).ino;
        volume_->Write({}, ino, 0, random.Bytes(1 + random.Below(9000)), false);
      } else if (random.OneIn(4)) {
        volume_->Unlink({}, dir, name);
        volume_->Forget(there->ino);
      } else if (random.OneIn(3)) {
        volume_->Rename({}, dir, name, dir, other, 0);
      } else if (!volume_->Lookup(dir, other)) {
        volume_->Link({}, there->ino, dir, other);
      } else {
        AttrChange change;
        change.size = random.Below(9000);
        volume_->SetAttr({}, there->ino, change);
      }
    }
  }

  void Look(int number) {
    for (int i = 0; !stop_; ++i) {
      const Instant at = store_->Now();
      std::shared_ptr<Volume> view;
      const std::string name = "made-" + std::to_string(number) + "-" + std::to_string(i);
      if (i % 4 == 0) {
        CreateRequest request;
        request.name = name;
        request.source_kind = i % 8 == 0 ? SourceKind::kCloneOf : SourceKind::kSnapshotOf;
        request.source = "busy";
        request.at = at;
        store_->Create(request);
        view = store_->OpenVolume(name);
      } else {
        view = store_->OpenAt("busy", at);
      }
      const CollectedTree first = CollectTree(*view);
      const CollectedTree second = CollectTree(*store_->OpenAt("busy", at));
      const std::string text = first.ProblemText() + second.ProblemText() +
                               Difference(first.tree, second.tree) +
                               Difference(first.tree, CollectTree(*view).tree);
      if (!text.empty()) Fail(name + " at " + std::to_string(at.ns) + ":\n" + text);
      const std::lock_guard lock(mutex_);
      seen_.push_back({at, first.tree});
    }
  }

  template <typename Work>
  std::thread Start(const Work& work) {
    return std::thread([this, work] {
      try {
        work();
      } catch (const std::exception& error) {
        Fail(error.what());
      }
    });
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<Volume> volume_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::string problem_;     // guarded by mutex_
  std::vector<Seen> seen_;  // guarded by mutex_
};

TEST_F(ConcurrentViewsTest, WhatWasSeenIsSeenAgain) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kWriters; ++i) threads.push_back(Start([this, i] { Write(i); }));
  for (int i = 0; i < kLookers; ++i) threads.push_back(Start([this, i] { Look(i); }));
  std::this_thread::sleep_for(std::chrono::seconds(4));
  stop_ = true;
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(problem_, "");
  EXPECT_GT(seen_.size(), 20u);
  for (const Seen& seen : seen_) {
    const CollectedTree again = CollectTree(*store_->OpenAt("busy", seen.at));
    ASSERT_EQ(again.ProblemText() + Difference(seen.tree, again.tree), "") << seen.at.ns;
  }
  std::cout << seen_.size() << " instants looked at" << std::endl;
}

}  // namespace
}  // namespace rw::testing
