// Goal: the reference model, which judges everything else, is right itself.
//
// Method: random operations on it and on a directory of the machine's own filesystem, with system
// calls; every errno and the trees must agree, but for times, which such a filesystem does not
// choose as rewind does.
#include "tests/support/reference_model.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/directory_driver.h"
#include "tests/support/random_operations.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

Tree WithoutTimes(Tree tree) {
  for (auto& [path, node] : tree) node.atime = node.mtime = node.ctime = {};
  return tree;
}

TEST(ReferenceModelTest, AgreesWithTheKernelsFilesystem) {
  if (geteuid() != 0) GTEST_SKIP() << "makes devices, needs root";
  umask(0);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    TempDir dir;
    DirectoryDriver driver(dir.path());
    Inode root;
    root.mode = S_IFDIR | 0700;
    ReferenceModel model(Instant{1}, root);
    // Such a filesystem has little room for xattrs.
    RandomOperations operations(seed,
                                {.through_mount = true, .max_write = 60'000, .max_xattr = 300});
    for (int i = 0; i < 3000; ++i) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", operation " + std::to_string(i));
      ASSERT_EQ(driver.Step(model, operations.Next(model), false), "");
      if (i % 100 != 0) continue;
      const CollectedTree collected = CollectTree(dir.path());
      ASSERT_EQ(collected.ProblemText(), "");
      ASSERT_EQ(Difference(WithoutTimes(model.TreeAt(kInstantMax)), WithoutTimes(collected.tree)),
                "");
    }
  }
}

// Versions are kept: a tree at an instant does not change any more, whatever happens later.
TEST(ReferenceModelTest, KeepsEveryState) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    Inode root;
    root.mode = S_IFDIR | 0755;
    ReferenceModel model(Instant{10}, root);
    RandomOperations operations(seed, {});
    std::map<uint64_t, Tree> trees;
    for (uint64_t i = 0; i < 2000; ++i) {
      model.Apply(operations.Next(model), Instant{20 + 10 * i});
      if (i % 40 == 0) trees[20 + 10 * i] = model.TreeAt(kInstantMax);
    }
    for (const auto& [at, tree] : trees) {
      ASSERT_EQ(Difference(tree, model.TreeAt(Instant{at + 9})), "") << "seed " << seed;
    }
    model.RollBack(Instant{10'020}, Instant{1'000'000});
    EXPECT_EQ(Difference(trees.at(10'020), model.TreeAt(kInstantMax)), "") << "seed " << seed;
    EXPECT_NE(Difference(trees.at(10'020), model.TreeAt(Instant{999'999})), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace rw::testing
