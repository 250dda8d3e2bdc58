// A store of each released format must open for ever, and show what it showed when it was made.
//
// format-1.tar.gz is a data root as a daemon left it when it was killed (so its journals have to be
// replayed); format-1.txt is what its volumes show at several instants. Both were made by this
// program:
//   REWIND_MAKE_GOLDEN=DIR golden_tests --gtest_also_run_disabled_tests --gtest_filter='*Make'
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <random>
#include <sstream>

#include "fs/acl.h"
#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/time_text.h"
#include "tests/support/manual_clock.h"
#include "tests/support/reference_model_acl.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree.h"

namespace rw {
namespace {

using testing::CollectedTree;
using testing::ManualClock;

std::string TextOf(const FileTime& time) {
  return std::to_string(time.seconds) + "." + std::to_string(time.nanoseconds);
}

// In hexadecimal unless it is plain text.
std::string TextOf(const std::string& value) {
  const bool plain = std::all_of(value.begin(), value.end(), [](char c) { return c > ' '; });
  std::ostringstream out;
  for (const char c : value) {
    if (plain) {
      out << c;
    } else {
      out << std::hex << std::setw(2) << std::setfill('0') << int{static_cast<uint8_t>(c)};
    }
  }
  return out.str();
}

void Describe(Volume& volume, std::ostream& out) {
  const CollectedTree collected = testing::CollectTree(volume);
  EXPECT_TRUE(collected.problems.empty()) << collected.ProblemText();
  for (const auto& [path, node] : collected.tree) {
    out << path << " mode=" << std::oct << node.mode << std::dec << " uid=" << node.uid
        << " gid=" << node.gid << " nlink=" << node.nlink << " rdev=" << node.rdev
        << " size=" << node.size << " hash=" << node.content_hash << " target=" << node.target
        << " atime=" << TextOf(node.atime) << " mtime=" << TextOf(node.mtime)
        << " ctime=" << TextOf(node.ctime) << " same_as=" << node.same_as;
    for (const auto& [name, value] : node.xattrs) out << " " << name << "=" << TextOf(value);
    out << "\n";
  }
}

// "at <volume> <instant>" lines, each followed by the tree.
void DescribeAt(Store& store, const std::string& name, Instant at, std::ostream& out) {
  out << "at " << name << " " << FormatInstant(at) << "\n";
  Describe(*store.OpenAt(name, at), out);
}

void Work(Volume& volume, ManualClock* clock, std::vector<Instant>* instants) {
  std::mt19937_64 random(1);
  const Caller caller{1000, 100, 42, 7};
  const auto tick = [&] {
    clock->Forward(ManualClock::kSecond / 3);
    instants->push_back(volume.last_instant());
  };
  const Ino dir = volume.Create(caller, kRootIno, "dir", S_IFDIR | 0750).ino;
  const Ino file = volume.Create(caller, dir, "file", S_IFREG | 0640).ino;
  volume.Create(caller, dir, "link", S_IFLNK | 0777, 0, "file");
  volume.Create(caller, dir, "null", S_IFCHR | 0666, 0x103);
  tick();
  std::string data(300'000, '\0');
  for (char& c : data) c = static_cast<char>(random());
  volume.Write(caller, file, 0, data, false);
  tick();
  for (int i = 0; i < 100; ++i) {
    volume.Write(caller, file, random() % 290'000,
                 std::string_view(data).substr(random() % 1000, random() % 9000), false);
  }
  tick();
  volume.Link(caller, file, kRootIno, "hard");
  volume.SetXattr(caller, file, "user.key", "value", 0);
  volume.Fallocate(caller, file, 3, 10'000, 50'000);
  tick();
  AttrChange cut;
  cut.size = 200'001;
  volume.SetAttr(caller, file, cut);
  cut.size = 400'000;
  volume.SetAttr(caller, file, cut);
  tick();
  const Ino copy = volume.Create(caller, kRootIno, "copy", S_IFREG | 0600).ino;
  volume.CopyRange(caller, file, 5'000, copy, 1'000'001, 150'000);
  AttrChange times;
  times.atime = FileTime{-1, 5};
  times.mtime = FileTime{5'000'000'000, 999'999'999};
  volume.SetAttr(caller, copy, times);
  tick();
  volume.Rename(caller, dir, "file", kRootIno, "moved", 0);
  volume.Unlink(caller, kRootIno, "hard");
  volume.Unlink(caller, dir, "link");
  tick();
  const std::string list =
      testing::EncodeModelAcl({{1, 7}, {2, 6, 1000}, {4, 5}, {16, 7}, {32, 0}});
  volume.SetXattr(caller, dir, kDefaultAcl, list, 0);
  volume.SetXattr(caller, file, kAccessAcl, list, 0);
  volume.Create(caller, dir, "heir", S_IFREG | 0660);
  const Ino unnamed = volume.CreateUnnamed(caller, dir, 0600).ino;
  volume.Write(caller, unnamed, 0, "unnamed", false);
  tick();
  volume.Link(caller, unnamed, dir, "named");
  volume.CreateUnnamed(caller, dir, 0600);  // ends with the process
  volume.Rename(caller, dir, "heir", kRootIno, "gone", RENAME_WHITEOUT);
  tick();
}

TEST(GoldenTest, DISABLED_Make) {
  const char* to = std::getenv("REWIND_MAKE_GOLDEN");
  ASSERT_NE(to, nullptr);
  const std::filesystem::path target(to);
  std::filesystem::create_directories(target);
  ManualClock clock;
  std::ofstream text(target / "format-1.txt");
  const auto store = Store::Open({target / "root", clock.AsFunction()});
  CreateRequest request;
  request.name = "origin";
  store->Create(request);
  std::vector<Instant> instants;
  Work(*store->OpenVolume("origin"), &clock, &instants);
  clock.Forward(ManualClock::kSecond);
  store->Create({"snap",
                 {{"snapshot-of", "origin"}},
                 SourceKind::kSnapshotOf,
                 "origin",
                 instants[2],
                 {},
                 {},
                 {},
                 {}});
  store->Create({"clone",
                 {{"clone-of", "origin"}},
                 SourceKind::kCloneOf,
                 "origin",
                 instants[3],
                 {},
                 {},
                 {},
                 {}});
  {
    const auto clone = store->OpenVolume("clone");
    clone->Write({}, clone->Lookup(clone->Lookup(kRootIno, "dir")->ino, "file")->ino, 131'000,
                 "in the clone", false);
    clone->Create({}, kRootIno, "only in the clone", S_IFREG | 0644);
  }
  store->Create({"before",
                 {{"rollback", "origin"}},
                 SourceKind::kRollback,
                 "origin",
                 instants[1],
                 {},
                 {},
                 {},
                 {}});
  {
    const auto origin = store->OpenVolume("origin");
    origin->Unlink({}, origin->Lookup(kRootIno, "dir")->ino, "null");
  }
  clock.Forward(ManualClock::kSecond);
  const Instant now = store->Now();
  for (const Instant at : instants) DescribeAt(*store, "origin", at, text);
  for (const char* name : {"origin", "snap", "clone", "before"})
    DescribeAt(*store, name, now, text);
  store->SyncAll();
  text.flush();
  _exit(::testing::Test::HasFailure() ? 1
                                      : 0);  // as if killed: the journals are not yet in the index
}

TEST(GoldenTest, Format1OpensAndShowsWhatItShowed) {
  const std::filesystem::path golden = std::filesystem::path(REWIND_SOURCE_DIR) / "tests/golden";
  testing::TempDir temp;
  const std::string command =
      "tar -xzf '" + (golden / "format-1.tar.gz").string() + "' -C '" + temp.path().string() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::ifstream in(golden / "format-1.txt");
  const std::string expected((std::istreambuf_iterator<char>(in)),
                             std::istreambuf_iterator<char>());
  ASSERT_FALSE(expected.empty());
  for (int opening = 0; opening < 2; ++opening) {  // once replayed, once closed in order
    ManualClock clock(1'800'000'000 * ManualClock::kSecond);
    const auto store = Store::Open({temp.path() / "root", clock.AsFunction()});
    std::istringstream lines(expected);
    std::ostringstream actual;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("at ")) continue;
      const size_t space = line.rfind(' ');
      DescribeAt(*store, line.substr(3, space - 3), ParseTime(line.substr(space + 1), Instant{}),
                 actual);
    }
    EXPECT_EQ(actual.str(), expected);
  }
}

}  // namespace
}  // namespace rw
