// Goal: what the kernel shows of a volume, now and at any instant, is what the volume was.
//
// Method: random system calls on a real mount beside the reference model, which takes the instant
// of each from the ctime that it left; at random instants the whole tree is collected with system
// calls, from a second mount of the volume as of then and from `.rewind/<time>/` in the first.
// REWIND_SEED and REWIND_OPS as in as_of_test.cc.
#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "fs/store.h"
#include "metadata/time_text.h"
#include "tests/support/directory_driver.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/random_operations.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

constexpr uint64_t kOperations = 2500;

class AsOfMountTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    umask(0);
    seed_ = NumberFromEnvironment("REWIND_SEED", GetParam());
    random_.emplace(seed_);
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
    CreateRequest request;
    request.name = "volume";
    store_->Create(request);
    const auto root = store_->OpenVolume("volume")->FindInode(kRootIno);
    model_.emplace(store_->Find("volume")->created, *root);
    Mount();
  }

  void Mount() {
    mounted_.emplace(*store_, "volume");
    driver_.emplace(mounted_->path());
  }

  void Restart() {
    split_.insert(driver_->split().begin(), driver_->split().end());
    driver_.reset();  // the kernel forgets what was unlinked and open
    mounted_.reset();
    model_->ForgetAll(Instant{model_->instants().back().ns + 1});
    store_.reset();
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
    Mount();
  }

  Instant AnyInstant() {
    const auto& instants = model_->instants();
    const Instant at = random_->PickFrom(instants);
    if (random_->OneIn(4) && at != instants[0] && !IsSplit(at)) return Before(at);
    if (random_->OneIn(3) && !nows_.empty()) return random_->PickFrom(nows_);
    return at;
  }

  bool IsSplit(Instant at) const {
    return split_.count(at) != 0 || driver_->split().count(at) != 0;
  }

  std::string Compare(const std::string& directory, Instant at) {
    const CollectedTree collected = CollectTree(directory);
    const std::string text =
        collected.ProblemText() + Difference(model_->TreeAt(at), collected.tree);
    return text.empty() ? text : directory + " at " + std::to_string(at.ns) + ":\n" + text;
  }

  std::string CompareHidden(Instant at) {
    return Compare(mounted_->path() + "/.rewind/" + FormatInstant(at), at);
  }

  std::string CompareSecondMount(Instant at) {
    MountedVolume view(*store_, "volume", at);
    return Compare(view.path(), at);
  }

  TempDir dir_;
  uint64_t seed_ = 0;
  std::optional<Random> random_;
  std::unique_ptr<Store> store_;
  std::optional<ReferenceModel> model_;
  std::optional<MountedVolume> mounted_;
  std::optional<DirectoryDriver> driver_;
  std::set<Instant> split_;    // of the drivers before this one
  std::vector<Instant> nows_;  // what the store called now, between operations
};

TEST_P(AsOfMountTest, EveryInstantIsWhatItWas) {
  if (std::getenv("REWIND_SEED") != nullptr && GetParam() != 1) GTEST_SKIP() << "one seed only";
  const uint64_t operations = NumberFromEnvironment("REWIND_OPS", kOperations);
  std::cout << "seed " << seed_ << ", " << operations << " operations" << std::endl;
  RandomOperations source(seed_ + 1,
                          {.through_mount = true, .max_write = 60'000, .max_inodes = 80});
  for (uint64_t i = 0; i < operations; ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed_) + ", operation " + std::to_string(i));
    ASSERT_EQ(driver_->Step(*model_, source.Next(*model_), true), "");
    if (i % 10 == 0) nows_.push_back(store_->Now());
    if (i % 100 == 50) {
      ASSERT_EQ(Compare(mounted_->path(), kInstantMax), "");
    }
    if (i % 50 == 0) {
      ASSERT_EQ(CompareHidden(AnyInstant()), "");
    }
    if (i % 100 == 0) {
      ASSERT_EQ(CompareSecondMount(AnyInstant()), "");
    }
    if (i % 800 == 799) {
      ASSERT_NO_THROW(Restart());
      ASSERT_EQ(Compare(mounted_->path(), kInstantMax), "");
    }
  }
  ASSERT_EQ(Compare(mounted_->path(), kInstantMax), "") << "seed " << seed_;
  ASSERT_EQ(CompareHidden(model_->instants()[0]), "") << "seed " << seed_;
}

INSTANTIATE_TEST_SUITE_P(Seeds, AsOfMountTest, ::testing::Values(1, 2));

using AsOfMountDetailsTest = AsOfMountTest;

// Two looks at one instant agree, however much is written between them, and one of them through the
// kernel's cache.
TEST_P(AsOfMountDetailsTest, AViewDoesNotMoveAndTheHeadStaysHidden) {
  RandomOperations source(seed_, {.through_mount = true, .max_write = 20'000, .max_inodes = 30});
  for (int i = 0; i < 200; ++i) ASSERT_EQ(driver_->Step(*model_, source.Next(*model_), true), "");
  const Instant at = store_->Now();
  MountedVolume view(*store_, "volume", at);
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(driver_->Step(*model_, source.Next(*model_), true), "");
    if (i % 20 != 0) continue;
    ASSERT_EQ(Compare(view.path(), at), "") << "seed " << seed_;
    ASSERT_EQ(CompareHidden(at), "") << "seed " << seed_;
  }
  DIR* root = opendir(mounted_->path().c_str());
  ASSERT_NE(root, nullptr);
  while (const dirent* entry = readdir(root)) EXPECT_STRNE(entry->d_name, ".rewind");
  closedir(root);
}

INSTANTIATE_TEST_SUITE_P(Seeds, AsOfMountDetailsTest, ::testing::Values(3));

}  // namespace
}  // namespace rw::testing
