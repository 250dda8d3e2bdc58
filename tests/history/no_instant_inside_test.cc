// Goal: no instant lies inside an operation: at every instant the tree is sound, and it is either
// the tree before the operation or the tree after it.
//
// Method: thousands of operations, mostly of those that change several inodes at once; at the
// instant of each, one nanosecond before and one after, the tree as of then passes a full check and
// equals the model before or after.
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fs/store.h"
#include "metadata/refused.h"
#include "tests/support/random_operations.h"
#include "tests/support/reference_model_acl.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/twin.h"

namespace rw::testing {
namespace {

constexpr uint64_t kSeeds = 3;
constexpr int kOperations = 1200;

class NoInstantInsideTest : public ::testing::Test {
 protected:
  NoInstantInsideTest() : store_(Store::Open({dir_.path() / "root", SystemNanoseconds})) {}

  Twin MakeTwin(const std::string& name) {
    CreateRequest request;
    request.name = name;
    store_->Create(request);
    auto volume = store_->OpenVolume(name);
    ReferenceModel model(store_->Find(name)->created, *volume->FindInode(kRootIno));
    return {name, std::move(volume), std::move(model), {{kModelRoot, kRootIno}}, true};
  }

  std::string CheckAround(const Twin& twin, Instant at) {
    for (const Instant t : {Before(at), at, Instant{at.ns + 1}}) {
      if (t > store_->Now()) break;
      std::string problem = twin.CheckView(*store_->OpenAt(twin.name, t), t);
      if (!problem.empty()) return problem;
    }
    return {};
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(NoInstantInsideTest, EveryTreeIsSoundAndBeforeOrAfter) {
  for (uint64_t i = 0; i < kSeeds; ++i) {
    const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1) + i;
    Twin twin = MakeTwin("seed-" + std::to_string(seed));
    // Few inodes and small contents: there is a full check of everything three times per operation.
    RandomOperations operations(seed, {.max_write = 5000, .max_inodes = 14});
    for (int done = 0; done < kOperations;) {
      const Operation operation = operations.Next(twin.model);
      const bool names = operation.kind <= OperationKind::kLink;
      if (!names && !operation.change.size && done % 3 != 0) continue;
      const size_t before = twin.model.instants().size();
      ASSERT_EQ(twin.Step(operation), "") << "seed " << seed << ", operation " << done;
      if (twin.model.instants().size() == before || operation.kind == OperationKind::kForget)
        continue;
      ++done;
      ASSERT_EQ(CheckAround(twin, twin.model.instants().back()), "")
          << "seed " << seed << " around " << operation.Describe();
    }
  }
}

// The operations of which half could be seen, one by one, so that none is left to chance.
TEST_F(NoInstantInsideTest, NamedOperations) {
  Twin twin = MakeTwin("named");
  ModelIno next = kModelRoot;
  const auto step = [&](Operation operation) {
    ASSERT_EQ(twin.Step(operation), "");
    if (operation.kind == OperationKind::kCreate ||
        operation.kind == OperationKind::kCreateUnnamed ||
        (operation.kind == OperationKind::kRename && (operation.flags & RENAME_WHITEOUT) != 0)) {
      ++next;
    }
    ASSERT_EQ(CheckAround(twin, twin.model.instants().back()), "") << operation.Describe();
  };
  const auto create = [&](ModelIno parent, const std::string& name, uint32_t mode) {
    Operation operation;
    operation.kind = OperationKind::kCreate;
    operation.ino = parent;
    operation.name = name;
    operation.mode = mode;
    step(operation);
    return next;
  };
  const auto named = [&](OperationKind kind, ModelIno ino, const std::string& name) {
    Operation operation;
    operation.kind = kind;
    operation.ino = ino;
    operation.name = name;
    step(operation);
  };
  const auto to = [&](OperationKind kind, ModelIno ino, const std::string& name, ModelIno other,
                      const std::string& other_name, int flags = 0) {
    Operation operation;
    operation.kind = kind;
    operation.ino = ino;
    operation.name = name;
    operation.other = other;
    operation.other_name = other_name;
    operation.flags = flags;
    step(operation);
  };
  const auto truncate = [&](ModelIno ino, uint64_t size) {
    Operation operation;
    operation.kind = OperationKind::kSetAttr;
    operation.ino = ino;
    operation.change.size = size;
    step(operation);
  };
  const auto write = [&](ModelIno ino, const std::string& data) {
    Operation operation;
    operation.kind = OperationKind::kWrite;
    operation.ino = ino;
    operation.data = data;
    step(operation);
  };

  const ModelIno a = create(kModelRoot, "a", S_IFDIR | 0755);
  const ModelIno b = create(kModelRoot, "b", S_IFDIR | 0755);
  const ModelIno file = create(a, "file", S_IFREG | 0644);
  const ModelIno other = create(b, "other", S_IFREG | 0644);
  create(a, "inner", S_IFDIR | 0755);
  create(b, "empty", S_IFDIR | 0755);
  write(file, std::string(300'000, 'x'));
  write(other, "other");
  truncate(file, 130'000);
  truncate(file, 200'000);
  truncate(file, 0);
  to(OperationKind::kLink, file, "", b, "linked");
  to(OperationKind::kRename, a, "file", b, "moved");   // across directories
  to(OperationKind::kRename, b, "moved", b, "other");  // replaces a file
  to(OperationKind::kRename, a, "inner", b, "empty");  // replaces a directory
  to(OperationKind::kRename, b, "empty", kModelRoot, "a",
     RENAME_EXCHANGE);  // a and its sibling's child
  to(OperationKind::kRename, b, "linked", kModelRoot, "a",
     RENAME_EXCHANGE);  // a file with a directory
  named(OperationKind::kUnlink, kModelRoot, "a");
  to(OperationKind::kRename, b, "other", kModelRoot, "covered", RENAME_WHITEOUT);
  named(OperationKind::kUnlink, b, "other");
  named(OperationKind::kRmdir, b, "empty");

  const ModelIno x = create(kModelRoot, "x", S_IFDIR | 02755);
  const ModelIno y = create(x, "y", S_IFDIR | 0755);
  const ModelIno leaf = create(y, "leaf", S_IFREG | 0644);
  const ModelIno z = create(kModelRoot, "z", S_IFDIR | 01777);
  create(z, "link", S_IFLNK | 0777);
  create(z, "device", S_IFCHR | 0600);
  to(OperationKind::kLink, leaf, "", z, "leaf");                         // has two parents
  to(OperationKind::kRename, x, "y", z, "y");                            // with what is in it
  to(OperationKind::kRename, z, "y", kModelRoot, "x", RENAME_EXCHANGE);  // a child and its uncle
  to(OperationKind::kRename, y, "leaf", z, "leaf");                      // two names of one file
  to(OperationKind::kRename, z, "link", z, "device");                    // of other kinds
  named(OperationKind::kUnlink, z, "leaf");
  named(OperationKind::kUnlink, y, "leaf");
}

// What an operation does to an inode's mode and to its xattrs are one thing, too.
TEST_F(NoInstantInsideTest, OperationsThatChangeXattrsBesideTheInode) {
  Twin twin = MakeTwin("attributes");
  ModelIno next = kModelRoot;
  const auto step = [&](OperationKind kind, ModelIno ino, const std::string& name, auto... edit) {
    Operation operation;
    operation.kind = kind;
    operation.ino = ino;
    operation.name = name;
    (edit(operation), ...);
    ASSERT_EQ(twin.Step(operation), "");
    if (kind == OperationKind::kCreate || kind == OperationKind::kCreateUnnamed) ++next;
    ASSERT_EQ(CheckAround(twin, twin.model.instants().back()), "") << operation.Describe();
  };
  const auto mode = [](uint32_t value) { return [=](Operation& op) { op.mode = value; }; };
  const auto data = [](std::string value) { return [=](Operation& op) { op.data = value; }; };
  const auto somebody = [](Operation& op) { op.caller.uid = 1000; };
  const std::string list =
      EncodeModelAcl({{1, 7}, {2, 6, 1000}, {4, 5}, {16, 7}, {32, 0}});  // user 1000: rw-

  step(OperationKind::kSetXattr, kModelRoot, kModelDefaultAcl, data(list));
  step(OperationKind::kCreate, kModelRoot, "file", mode(S_IFREG | 0666));  // inherits
  const ModelIno file = next;
  step(OperationKind::kCreate, kModelRoot, "dir", mode(S_IFDIR | 0777));
  step(OperationKind::kSetXattr, file, kModelAccessAcl, data(list));  // changes the mode
  step(OperationKind::kSetAttr, file, "", [](Operation& op) { op.change.mode = 04600; });
  step(OperationKind::kSetXattr, file, "security.capability", data(std::string(20, '\x02')));
  step(OperationKind::kWrite, file, "", data("contents"),  // takes all of it away
       [](Operation& op) { op.kill_suid_sgid = true; });
  step(OperationKind::kSetAttr, file, "", [](Operation& op) { op.change.mode = 06711; });
  step(OperationKind::kFallocate, file, "", somebody, [](Operation& op) { op.length = 5000; });
  step(OperationKind::kRemoveXattr, file, kModelAccessAcl);
  step(OperationKind::kCreateUnnamed, kModelRoot, "", mode(0640));
  const ModelIno unnamed = next;
  step(OperationKind::kWrite, unnamed, "", data("nobody knows me"));
  step(OperationKind::kLink, unnamed, "", [](Operation& op) {
    op.other = kModelRoot;
    op.other_name = "named";
  });
  step(OperationKind::kCreateUnnamed, kModelRoot, "", mode(0600));
  step(OperationKind::kForget, next, "");
}

}  // namespace
}  // namespace rw::testing
