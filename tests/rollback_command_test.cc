// Goal: several volumes go back to one instant, all or none, what they were is kept by a mark; and
// what a consistent mark says of volumes that nobody uses is so.
// Method: the real binary, once as the daemon and once as the command; files of mounts. What
// concerns containers is tried on a real engine (tests/docker/operate_test.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/command_line_test.h"

namespace rw {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

class RollbackCommandTest : public testing::CommandLineTest {
 protected:
  void Write(const std::string& volume, const std::string& text) const {
    const auto mount = MakeDirectory("mount");
    Done({"mount", volume, mount});
    std::ofstream(mount / "file") << text;
    Done({"umount", mount});
  }
  std::string Now() const { return CommandLineTest::Now("a"); }
  std::string Cat(const std::string& volume, const std::string& at = "now") const {
    return Done({"cat", volume, "/file", "--at", at});
  }
  std::vector<std::string> Labels(const std::string& volume) const {
    std::vector<std::string> labels;
    for (const Json& mark : DoneJson({"marks", volume})) labels.push_back(mark.at("label"));
    return labels;
  }
};

TEST_F(RollbackCommandTest, SeveralVolumesGoBackAndAgainForth) {
  for (const char* name : {"a", "b"}) {
    Done({"create", name});
    Write(name, "good");
  }
  const std::string then = Now();
  for (const char* name : {"a", "b"}) Write(name, "mistake");
  EXPECT_THAT(Done({"rollback", "a", "b", "a", "--at", then, "--dry-run"}),
              AllOf(HasSubstr("would roll back  a to " + then), HasSubstr("b to " + then)));
  EXPECT_EQ(Cat("a"), "mistake");
  EXPECT_EQ(Done({"rollback", "a", "b", "--at", then}),
            "a, b are as at " + then + "; before-rollback-1 marks what was there before\n");
  for (const char* name : {"a", "b"}) {
    EXPECT_EQ(Cat(name), "good");
    EXPECT_EQ(Cat(name, "before-rollback-1"), "mistake");
  }
  EXPECT_EQ(DoneJson({"marks", "a"})[0].at("at"), DoneJson({"marks", "b"})[0].at("at"));
  const Json again = DoneJson({"rollback", "b", "a", "--at", "before-rollback-1"});
  EXPECT_EQ(again.at("label"), "before-rollback-2");
  EXPECT_EQ(again.at("volumes"), (Json{"a", "b"}));
  for (const char* name : {"a", "b"}) EXPECT_EQ(Cat(name), "mistake");
  // The volumes go on from there, also after the daemon was killed.
  daemon_.Kill();
  daemon_.Restart();
  Write("a", "later");
  EXPECT_EQ(Cat("a"), "later");
  EXPECT_EQ(Cat("b", "before-rollback-2"), "good");
}

TEST_F(RollbackCommandTest, UndoTakesItBackForEachVolume) {
  for (const char* name : {"a", "b"}) {
    Done({"create", name});
    Write(name, "good");
  }
  const std::string then = Now();
  for (const char* name : {"a", "b"}) Write(name, "mistake");
  Done({"rollback", "a", "b", "--at", then});
  Done({"undo", "a"});
  EXPECT_EQ(Cat("a"), "mistake");
  EXPECT_EQ(Cat("b"), "good");
  Done({"undo", "a", "--redo"});
  EXPECT_EQ(Cat("a"), "good");
}

TEST_F(RollbackCommandTest, WhatWasThereIsKeptThoughNothingElseIs) {
  Done({"create", "a", "-o", "retention=0", "-o", "keep=none"});
  Write("a", "good");
  Done({"mark", "a", "good"});
  Write("a", "mistake");
  Done({"rollback", "a", "--at", "good"});
  Done({"collect"});
  Done({"rollback", "a", "--at", "before-rollback-1"});
  EXPECT_EQ(Cat("a"), "mistake");
}

TEST_F(RollbackCommandTest, AllOrNone) {
  Done({"create", "a"});
  Write("a", "good");
  const std::string then = Now();
  Write("a", "mistake");
  Done({"create", "young"});
  Done({"create", "snapshot", "-o", "snapshot-of=a"});
  EXPECT_THAT(RefusedLine({"rollback", "a", "young", "--at", then}), HasSubstr("young"));
  EXPECT_THAT(RefusedLine({"rollback", "a", "snapshot", "--at", then}),
              HasSubstr("snapshot volume"));
  EXPECT_THAT(RefusedLine({"rollback", "a", "none", "--at", then}), HasSubstr("none"));
  EXPECT_THAT(RefusedLine({"rollback", "a", "--at", "2200-01-01T00:00:00Z"}), HasSubstr("future"));
  RefusedLine({"rollback", "--at", then}, kExitUsage);
  RefusedLine({"rollback", "a"}, kExitUsage);
  // One that is in use, asked for past the command's own look.
  Done({"create", "b"});
  const auto mount = MakeDirectory("mount");
  Done({"mount", "b", mount});
  EXPECT_THAT(RefusedLine({"rollback", "a", "b", "--at", "now"}), HasSubstr("rewind mount on"));
  const Json answer = daemon_.Post("Rewind.RollBack", {{"Names", {"a", "b"}}, {"At", "now"}});
  EXPECT_THAT(answer.at("Err"), HasSubstr("cannot roll back b: mounted by"));
  Done({"umount", mount});
  EXPECT_EQ(Cat("a"), "mistake");
  EXPECT_THAT(Labels("a"), ElementsAre());
  EXPECT_FALSE(DoneJson({"inspect", "a"}).contains("rolled_back_to"));
}

TEST_F(RollbackCommandTest, ALabelMeansOneInstantOfAll) {
  for (const char* name : {"a", "b", "c"}) Done({"create", name});
  Done({"mark", "a", "label"});
  Done({"mark", "b", "label"});
  EXPECT_THAT(RefusedLine({"rollback", "a", "b", "--at", "label"}),
              AllOf(HasSubstr("label"), HasSubstr("one for all")));
  Done({"mark", "a", "b", "c", "common"});
  Done({"rollback", "a", "b", "c", "--at", "common"});
  EXPECT_THAT(RefusedLine({"rollback", "a", "b", "--at", "comon"}), HasSubstr("common"));
}

TEST_F(RollbackCommandTest, AMarkSaysThatNobodyHadItMounted) {
  for (const char* name : {"a", "b"}) Done({"create", name});
  const Json done =
      DoneJson({"mark", "--all", "label", "--consistent", "--docker-socket", "/none"});
  EXPECT_EQ(done.at("consistent"), (Json{{"a", "not mounted"}, {"b", "not mounted"}}));
  EXPECT_EQ(DoneJson({"marks", "b"})[0].at("consistent"), "not mounted");
  Done({"mark", "a", "other"});
  EXPECT_FALSE(DoneJson({"marks", "a"})[1].contains("consistent"));
  // The daemon knows better than the command who has it mounted.
  const auto mount = MakeDirectory("mount");
  Done({"mount", "a", mount});
  EXPECT_THAT(RefusedLine({"mark", "a", "new", "--consistent"}), HasSubstr("rewind mount on"));
  EXPECT_THAT(daemon_.Post("Rewind.QuietInstant", {{"Holders", {{"a", 0}, {"b", 0}}}}).at("Err"),
              HasSubstr("a is mounted 1 times, not 0"));
  EXPECT_EQ(daemon_.Post("Rewind.QuietInstant", {{"Holders", {{"a", 1}, {"b", 0}}}}).at("Err"), "");
  Done({"umount", mount});
}

TEST_F(RollbackCommandTest, MarksTakeVolumesOrAProjectOrAll) {
  Done({"create", "a"});
  RefusedLine({"mark", "label"}, kExitUsage);
  RefusedLine({"mark", "--all", "a", "label"}, kExitUsage);
  RefusedLine({"mark", "--all", "--project", "p", "label"}, kExitUsage);
  RefusedLine({"mark", "a", "label", "--timeout", "1s"}, kExitUsage);
  EXPECT_THAT(RefusedLine({"mark", "--project", "p", "label", "--docker-socket", "/none"}),
              HasSubstr("/none"));
  EXPECT_THAT(RefusedLine({"mark", "a", "label", "--consistent", "--timeout", "soon"}),
              HasSubstr("soon"));
  EXPECT_THAT(RefusedLine({"mark", "a", "label", "--consistent", "--at", "1s"}),
              HasSubstr("--consistent"));
}

}  // namespace
}  // namespace rw
