// Goal: a volume at any instant is what it was at that instant, whatever happened to it and around
// it since.
//
// Method: random operations through the library on several volumes, each beside a reference model
// that keeps every state; at random instants, after clones, snapshot volumes, rollbacks (of
// rollbacks), restarts and removals, whole trees are compared. REWIND_SEED repeats one seed,
// REWIND_OPS makes the run longer or shorter.
#include <gtest/gtest.h>

#include <random>

#include "tests/support/oracle_world.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {
namespace {

constexpr uint64_t kSeeds = 5;
constexpr uint64_t kOperationsPerSeed = 10'500;
constexpr size_t kMaxVolumes = 9;

class AsOfTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  // The last one is new every time, the others are the same for everybody.
  uint64_t Seed() {
    if (std::getenv("REWIND_SEED") != nullptr) return NumberFromEnvironment("REWIND_SEED", 0);
    return GetParam() < kSeeds ? GetParam() : std::random_device()();
  }
};

std::string SomeEvent(OracleWorld& world, Random& random) {
  while (world.volumes() >= kMaxVolumes) {
    if (std::string problem = world.RemoveOne(); !problem.empty()) return problem;
  }
  switch (random.Below(6)) {
    case 0:
      return world.AddVolume();
    case 1:
      return world.Snapshot();
    case 2:
    case 3:
      return world.Clone();
    default:
      return world.RollBack();
  }
}

TEST_P(AsOfTest, EveryInstantIsWhatItWas) {
  if (std::getenv("REWIND_SEED") != nullptr && GetParam() != 1) GTEST_SKIP() << "one seed only";
  const uint64_t seed = Seed();
  const uint64_t operations = NumberFromEnvironment("REWIND_OPS", kOperationsPerSeed);
  std::cout << "seed " << seed << ", " << operations << " operations" << std::endl;
  TempDir dir;
  // Many inodes with little history each, or few with much.
  OperationProfile profile;
  if (seed % 2 == 0) {
    profile.max_inodes = 8;
    profile.percent_contents = 80;
  }
  OracleWorld world(seed, profile, dir.path() / "root");
  Random random(seed + 2);
  ASSERT_EQ(world.AddVolume(), "") << "seed " << seed;
  ASSERT_EQ(world.AddVolume(), "") << "seed " << seed;
  for (uint64_t i = 0; i < operations; ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", operation " + std::to_string(i));
    ASSERT_EQ(world.Operate(), "");
    if (i % 60 == 0) {
      ASSERT_EQ(world.CheckSomewhere(), "");
    }
    if (i % 350 == 349) {
      ASSERT_EQ(SomeEvent(world, random), "");
    }
    if (i % 500 == 499) {
      ASSERT_EQ(world.CheckRefusals(), "");
    }
    if (i % 1500 == 1499) {
      ASSERT_EQ(world.Restart(random.OneIn(2)), "");
    }
  }
  ASSERT_EQ(world.CheckEverywhere(), "") << "seed " << seed;
  std::cout << world.checks() << " trees compared" << std::endl;
}

INSTANTIATE_TEST_SUITE_P(Seeds, AsOfTest, ::testing::Range<uint64_t>(1, kSeeds + 1));

}  // namespace
}  // namespace rw::testing
