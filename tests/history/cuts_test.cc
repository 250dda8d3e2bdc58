// Goal: what was cut off a file stays away, however often and wherever it is cut and made longer
// again.
//
// Method: one file that is made longer and cut a little, thousands of times, so that cuts pile up
// beyond what an inode keeps of them; the contents now and as of every tenth instant equal the
// model, again after a restart, and in a clone that is cut further.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/store.h"
#include "tests/support/random.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/twin.h"

namespace rw::testing {
namespace {

constexpr int kOperations = 2500;
constexpr uint64_t kLargest = 300'000;

class CutsTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  void Open() { store_ = Store::Open({dir_.path() / "root", SystemNanoseconds}); }

  Twin MakeTwin() {
    CreateRequest request;
    request.name = "volume";
    store_->Create(request);
    auto volume = store_->OpenVolume("volume");
    ReferenceModel model(store_->Find("volume")->created, *volume->FindInode(kRootIno));
    return {"volume", std::move(volume), std::move(model), {{kModelRoot, kRootIno}}, true};
  }

  Operation Next(const ReferenceModel& model, ModelIno file, Random& random) {
    const uint64_t size = model.Find(file)->content->size();
    Operation operation;
    operation.ino = file;
    operation.kind = OperationKind::kSetAttr;
    switch (random.Below(6)) {
      case 0:
      case 1:  // grows by a hole
        operation.change.size = size + random.Below(400);
        break;
      case 2:
      case 3:  // is cut by less than it grows
        operation.change.size = size - std::min(size, random.Below(300));
        break;
      default:  // grows by data, sometimes behind a hole
        operation.kind = OperationKind::kWrite;
        operation.offset = size + (random.OneIn(3) ? random.Below(500) : 0);
        operation.data = random.Bytes(1 + random.Below(random.OneIn(10) ? 20'000 : 200));
    }
    if (size > kLargest || random.OneIn(400)) {
      operation.kind = OperationKind::kSetAttr;
      operation.change.size = random.Below(size + 1);
    }
    return operation;
  }

  std::string CheckHistory(const Twin& twin) {
    const auto& instants = twin.model.instants();
    for (size_t i = 0; i < instants.size(); i += 10) {
      std::string problem = twin.CheckView(*store_->OpenAt(twin.name, instants[i]), instants[i]);
      if (!problem.empty()) return problem;
    }
    return twin.CheckView(*twin.volume, kInstantMax);
  }

  void Clone(Twin& twin) {
    CreateRequest request;
    request.name = "clone";
    request.source_kind = SourceKind::kCloneOf;
    request.source = twin.name;
    store_->Create(request);
    const auto record = store_->Find("clone");
    twin.model = ReferenceModel::CloneOf(twin.model, *record->source_at, record->created);
    twin.name = "clone";
    twin.volume = store_->OpenVolume("clone");
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_P(CutsTest, WhatWasCutStaysAway) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", GetParam());
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  Open();
  Twin twin = MakeTwin();
  Operation create;
  create.kind = OperationKind::kCreate;
  create.ino = kModelRoot;
  create.name = "file";
  create.mode = S_IFREG | 0644;
  ASSERT_EQ(twin.Step(create), "");
  const ModelIno file = kModelRoot + 1;
  for (int i = 0; i < 2 * kOperations; ++i) {
    ASSERT_EQ(twin.Step(Next(twin.model, file, random)), "") << "operation " << i;
    if (i % 10 == 0) {
      ASSERT_EQ(twin.CheckRandomRead(random), "") << "operation " << i;
    }
    if (i == kOperations) {
      ASSERT_EQ(CheckHistory(twin), "");
      Clone(twin);
    }
  }
  ASSERT_EQ(CheckHistory(twin), "");
  twin.volume.reset();
  store_.reset();
  Open();
  twin.volume = store_->OpenVolume(twin.name);
  ASSERT_EQ(CheckHistory(twin), "") << "after a restart";
}

INSTANTIATE_TEST_SUITE_P(Seeds, CutsTest, ::testing::Values(1, 2, 3));

}  // namespace
}  // namespace rw::testing
