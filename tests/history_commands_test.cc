// Goal: how long history is kept, what keeps it and what was removed can be told and changed from
// the command line, and what means nothing is refused in one line and changes nothing.
// Method: the real binary, once as the daemon and once as the command.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include "metadata/quantity.h"
#include "metadata/time_text.h"
#include "tests/support/command_line_test.h"

namespace rw {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;
namespace stdfs = std::filesystem;

class HistoryCommandsTest : public testing::CommandLineTest {
 protected:
  std::string Now(const std::string& name) const {
    std::string now = Done({"now", name});
    now.pop_back();
    return now;
  }
  // Makes a volume with each of `contents` in turn in one file; returns the instant after each.
  std::vector<std::string> MakeVolume(const std::string& name,
                                      const std::vector<std::string>& contents,
                                      std::vector<std::string> options = {}) const {
    std::vector<std::string> command = {"create", name};
    for (const std::string& option : options) command.insert(command.end(), {"-o", option});
    Done(command);
    const stdfs::path directory = MakeDirectory("written " + name);
    Done({"mount", name, directory});
    std::vector<std::string> instants;
    for (const std::string& text : contents) {
      std::ofstream(directory / "file") << text;
      instants.push_back(Now(name));
    }
    Done({"umount", directory});
    return instants;
  }
  // What the file holds in a volume, or in a volume at a time.
  std::string Contents(const std::string& name, const std::string& at = "") const {
    const stdfs::path directory = MakeDirectory("read " + name);
    std::vector<std::string> command = {"mount", name, directory};
    if (!at.empty()) command.insert(command.end(), {"--at", at});
    Done(command);
    std::string text = Read(directory / "file");
    Done({"umount", directory});
    return text;
  }
  std::vector<std::string> RemovedNames() const {
    std::vector<std::string> names;
    for (const Json& volume : DoneJson({"ls", "--removed"})) names.push_back(volume["name"]);
    return names;
  }
};

TEST_F(HistoryCommandsTest, SetChangesWhatIsInForce) {
  Done({"create", "v", "-o", "retention=2h", "-o", "keep=daily:30d", "-o", "trash=0"});
  Json policy = DoneJson({"retention", "v"});
  EXPECT_EQ(policy["retention"], "2h");
  EXPECT_EQ(policy["keep"], "daily:30d");
  EXPECT_EQ(policy["history_limit"], "none");
  EXPECT_EQ(policy["trash"], "0");
  EXPECT_EQ(policy["points"], 0);
  EXPECT_EQ(policy["pins"], 0);
  EXPECT_EQ(Done({"set", "v", "retention=0", "keep=", "history-limit=50G", "size=1G"}), "v\n");
  for (bool restarted : {false, true}) {
    SCOPED_TRACE(restarted ? "after a restart" : "at once");
    policy = DoneJson({"retention", "v"});
    EXPECT_EQ(policy["retention"], "0");
    EXPECT_EQ(policy["keep"], "hourly:7d,daily:60d") << "the default again";
    EXPECT_EQ(policy["history_limit"], "50G");
    EXPECT_EQ(policy["trash"], "0");
    EXPECT_EQ(DoneJson({"inspect", "v"})["size"], "1.0 GiB");
    if (!restarted) {
      daemon_.Stop();
      daemon_.Restart();
    }
  }
  Done({"set", "v", "size=none"});
  EXPECT_FALSE(DoneJson({"inspect", "v"}).contains("size"));
  EXPECT_THAT(Done({"retention", "v"}), HasSubstr("history limit  50G"));
  const Json status = daemon_.Post("VolumeDriver.Get", {{"Name", "v"}})["Volume"]["Status"];
  for (const char* key : {"retention", "keep", "history_limit", "trash", "points", "pins"}) {
    EXPECT_EQ(status[key], DoneJson({"inspect", "v"})[key]) << key;
  }
}

TEST_F(HistoryCommandsTest, DefaultsAreTheDaemonsAndFollowItsSettings) {
  Done({"create", "own", "-o", "retention=3h", "-o", "keep=hourly:2d"});
  Done({"create", "none"});
  daemon_.Stop();
  daemon_.Restart({{"REWIND_RETENTION", "4d"},
                   {"REWIND_KEEP", "hourly:1w,monthly:100d"},
                   {"REWIND_HISTORY_LIMIT", "7G"},
                   {"REWIND_TRASH", "1h"}});
  Json policy = DoneJson({"retention", "none"});
  EXPECT_EQ(policy["retention"], "4d");
  EXPECT_EQ(policy["keep"], "hourly:7d,monthly:100d");
  EXPECT_EQ(policy["history_limit"], "7G");
  EXPECT_EQ(policy["trash"], "1h");
  EXPECT_EQ(DoneJson({"retention", "own"})["keep"], "hourly:2d");
  EXPECT_THAT(RefusedLine({"set", "own", "retention="}), HasSubstr("adds nothing to retention=4d"));
  EXPECT_EQ(DoneJson({"retention", "own"})["retention"], "3h");
  const std::vector<std::string> serve = {"serve",
                                          "--root",
                                          daemon_.directory() / "o/root",
                                          "--socket",
                                          daemon_.directory() / "o/s",
                                          "--mounts",
                                          daemon_.directory() / "o/mounts"};
  for (const char* bad : {"--retention=always", "--keep=yearly:9w", "--reserve=5%", "--trash=7",
                          "--collect-rate=0"}) {
    std::vector<std::string> command = serve;
    command.push_back(bad);
    EXPECT_THAT(RefusedLine(command), HasSubstr("refused: ")) << bad;
    EXPECT_FALSE(stdfs::exists(daemon_.directory() / "o")) << bad;
  }
}

TEST_F(HistoryCommandsTest, WhatMeansNothingIsRefusedAndChangesNothing) {
  MakeVolume("v", {std::string(100'000, 'x')}, {"retention=3h", "keep=hourly:2d", "size=1M"});
  Done({"create", "s", "-o", "snapshot-of=v"});
  const Json before = DoneJson({"inspect", "v"});
  const std::vector<std::pair<std::string, const char*>> changes = {
      {"retention=soon", "retention=\"soon\" refused: it must be a duration"},
      {"retention=24", "retention=\"24\" refused"},
      {"retention=2d", "hourly:2d adds nothing to retention=2d"},
      {"keep=hourly:2h", "hourly:2h adds nothing to retention=3h"},
      {"keep=often", "\"often\" is none of"},
      {"keep=hourly:3d,hourly:4d", "hourly is given twice"},
      {"keep=monthly:2w", "shorter than its period"},
      {"history-limit=0", "history-limit=\"0\" refused"},
      {"trash=-1h", "trash=\"-1h\" refused"},
      {"size=0", "size"},
      {"size=4K", "v"},
      {"colour=red", "\"colour\""},
      {"mount=suid", "\"mount\""},
      {"retention", "KEY=VALUE is needed"},
      {"=1h", "\"\""},
  };
  for (const auto& [change, why] : changes) {
    EXPECT_THAT(RefusedLine({"set", "v", change}), HasSubstr(why)) << change;
    // All of them or none.
    const char* const sound = change.starts_with("trash") ? "history-limit=5G" : "trash=5h";
    EXPECT_THAT(RefusedLine({"set", "v", sound, change}), HasSubstr(why)) << change;
    if (!change.starts_with("size=")) {
      EXPECT_THAT(RefusedLine({"retention", "v", change, "--dry-run"}), HasSubstr(why)) << change;
    }
    EXPECT_EQ(DoneJson({"inspect", "v"}), before) << change;
  }
  EXPECT_THAT(RefusedLine({"set", "v", "trash=1h", "trash=2h"}), HasSubstr("twice"));
  EXPECT_THAT(RefusedLine({"set", "nobody", "trash=1h"}), HasSubstr("nobody"));
  EXPECT_THAT(RefusedLine({"set", "s", "trash=1h"}), HasSubstr("s"));
  EXPECT_THAT(RefusedLine({"retention", "s"}), HasSubstr("snapshot volume"));
  EXPECT_THAT(RefusedLine({"retention", "nobody", "--dry-run"}), HasSubstr("nobody"));
  EXPECT_THAT(RefusedLine({"create", "x", "-o", "keep=hourly:24h"}), HasSubstr("adds nothing"));
  EXPECT_THAT(RefusedLine({"create", "x", "-o", "snapshot-of=v", "-o", "retention=1h"}),
              HasSubstr("for new volumes and clones"));
  EXPECT_THAT(RefusedLine({"retention", "v", "retention=1h"}, kExitUsage), HasSubstr("--dry-run"));
  RefusedLine({"set", "v"}, kExitUsage);
  EXPECT_EQ(DoneJson({"inspect", "v"}), before);
  EXPECT_EQ(DoneJson({"ls"}).size(), 2u);
}

TEST_F(HistoryCommandsTest, ADryRunTellsWhatCollectingThenDoes) {
  const std::vector<std::string> instants =
      MakeVolume("v", {std::string(3 << 20, 'a'), std::string(3 << 20, 'b'), "c"});
  const Json report = DoneJson({"retention", "v", "retention=0", "keep=none", "--dry-run"});
  EXPECT_GE(report["history_from"].get<std::string>(), instants[2]);
  EXPECT_EQ(report["points"], 0);
  EXPECT_GT(report["dropped_versions"], 0);
  EXPECT_GT(report["freed_bytes"], 3 << 20);
  EXPECT_THAT(Done({"retention", "v", "retention=0", "--dry-run"}), HasSubstr("would free"));
  EXPECT_EQ(Contents("v", instants[0]), std::string(3 << 20, 'a')) << "nothing has changed";
  EXPECT_EQ(DoneJson({"retention", "v"})["retention"], "1d");

  Done({"set", "v", "retention=0", "keep=none"});
  EXPECT_THAT(Done({"collect"}), HasSubstr("dropped versions"));
  EXPECT_EQ(Contents("v"), "c");
  const std::string from = DoneJson({"inspect", "v"})["history_from"];
  EXPECT_GE(from, instants[2]);
  const stdfs::path directory = MakeDirectory("past");
  EXPECT_THAT(RefusedLine({"mount", "v", directory, "--at", instants[0]}), HasSubstr("2"));
  EXPECT_FALSE(testing::IsMounted(directory));
}

TEST_F(HistoryCommandsTest, MarksKeepWhatTheyName) {
  const std::vector<std::string> v = MakeVolume("v", {"one", "two", "three"});
  MakeVolume("w", {"other"});
  Done({"mark", "v", "first", "--at", v[0], "--note", "a/b, and c"});
  Json both = DoneJson({"mark", "v", "w", "both"});
  EXPECT_EQ(both["volumes"], Json::array({"v", "w"}));
  EXPECT_GT(both["instant"].get<std::string>(), v[2]);
  Json all = DoneJson({"mark", "--all", "everything"});
  EXPECT_EQ(all["volumes"], Json::array({"v", "w"}));
  Json marks = DoneJson({"marks", "v"});
  ASSERT_EQ(marks.size(), 3u);
  EXPECT_EQ(marks[0]["label"], "first");
  EXPECT_EQ(marks[0]["at"], v[0]);
  EXPECT_EQ(marks[0]["note"], "a/b, and c");
  EXPECT_EQ(marks[1]["at"], both["instant"]);
  EXPECT_EQ(marks[2]["at"], all["instant"]);
  EXPECT_EQ(DoneJson({"marks", "w"})[0]["at"], both["instant"]) << "one instant";
  Done({"set", "v", "retention=0", "keep=none"});
  Done({"collect"});
  EXPECT_EQ(Contents("v", "first"), "one");
  EXPECT_EQ(Contents("v", v[0]), "one");
  Done({"create", "c", "-o", "clone-of=v", "-o", "at=first"});
  EXPECT_EQ(Contents("c"), "one");
  EXPECT_EQ(Done({"unmark", "v", "first"}), "first\n");
  EXPECT_EQ(DoneJson({"marks", "v"}).size(), 2u);
  EXPECT_EQ(Contents("c"), "one") << "a clone keeps what it needs itself";
}

TEST_F(HistoryCommandsTest, PinsTellWhatKeepsHistory) {
  const std::vector<std::string> v = MakeVolume("v", {"one", "two", "three"});
  Done({"create", "c", "-o", "clone-of=v", "-o", "at=" + v[2]});
  Done({"mark", "v", "m", "--at", v[0]});
  Done({"create", "s", "-o", "snapshot-of=v", "-o", "at=" + v[1]});
  const Json pins = DoneJson({"pins", "v"});
  ASSERT_EQ(pins.size(), 3u);
  const char* const expected[][2] = {{"mark", "m"}, {"snapshot", "s"}, {"clone", "c"}};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(pins[i]["kind"], expected[i][0]);
    EXPECT_EQ(pins[i]["name"], expected[i][1]);
    EXPECT_EQ(pins[i]["at"], v[i]);
    EXPECT_GE(pins[i]["made"].get<std::string>(), v[2]);
    EXPECT_TRUE(pins[i]["bytes"].is_number_unsigned());
    EXPECT_FALSE(pins[i]["age"].get<std::string>().empty());
  }
  EXPECT_EQ(DoneJson({"inspect", "v"})["pins"], 3);
  EXPECT_THAT(Done({"pins", "v"}), StartsWith("KIND"));
  EXPECT_THAT(RefusedLine({"pins", "nobody"}), HasSubstr("nobody"));
  Done({"unmark", "v", "m"});
  Done({"rm", "s"});
  EXPECT_EQ(DoneJson({"pins", "v"}).size(), 2u) << "it can still be a source";
  Done({"purge", "s"});
  EXPECT_EQ(DoneJson({"pins", "v"}).size(), 1u);
}

TEST_F(HistoryCommandsTest, BadMarksAreRefusedAndChangeNothing) {
  MakeVolume("v", {"one"});
  Done({"create", "w"});
  Done({"create", "s", "-o", "snapshot-of=v"});
  Done({"mark", "v", "before-migration"});
  const Json before = DoneJson({"marks", "v"});
  for (const char* label :
       {"10m", "now", "@1795368660", "2026-11-22T17:31:00Z", ".hidden", "a/b"}) {
    EXPECT_THAT(RefusedLine({"mark", "v", label}), HasSubstr("refused")) << label;
  }
  EXPECT_THAT(RefusedLine({"mark", "v", "before-migration"}), HasSubstr("before-migration"));
  EXPECT_THAT(RefusedLine({"mark", "w", "v", "before-migration"}), HasSubstr("v"));
  EXPECT_THAT(RefusedLine({"mark", "v", "nobody", "x"}), HasSubstr("nobody"));
  EXPECT_THAT(RefusedLine({"mark", "v", "s", "x"}), HasSubstr("snapshot volume"));
  EXPECT_THAT(RefusedLine({"mark", "v", "x", "--at", "1000d"}), HasSubstr("first instant"));
  EXPECT_THAT(RefusedLine({"mark", "v", "x", "--at", "2200-01-01T00:00:00Z"}), HasSubstr("future"));
  EXPECT_THAT(RefusedLine({"mark", "v", "x", "--note", "two\nlines"}), HasSubstr("control"));
  EXPECT_THAT(RefusedLine({"mark", "v", "x", "--note", std::string(1001, 'n')}), HasSubstr("1000"));
  EXPECT_THAT(RefusedLine({"unmark", "v", "before-migratoin"}),
              HasSubstr("similar marks are: \"before-migration\""));
  EXPECT_THAT(RefusedLine({"unmark", "v", "tomorrow"}), Not(HasSubstr("similar")));
  EXPECT_THAT(RefusedLine({"unmark", "nobody", "x"}), HasSubstr("nobody"));
  EXPECT_THAT(RefusedLine({"create", "c", "-o", "clone-of=v", "-o", "at=migration"}),
              HasSubstr("similar marks are: \"before-migration\""));
  RefusedLine({"mark", "v"}, kExitUsage);
  RefusedLine({"mark", "--all", "v", "x"}, kExitUsage);
  RefusedLine({"mark", "--all"}, kExitUsage);
  EXPECT_EQ(DoneJson({"marks", "v"}), before);
  EXPECT_EQ(DoneJson({"marks", "w"}), Json::array());
}

TEST_F(HistoryCommandsTest, RemovedVolumesCanStillBeSources) {
  const std::vector<std::string> v = MakeVolume("v", {"one", "two"});
  const std::string out = Done({"rm", "v"});
  EXPECT_THAT(out, StartsWith("v\n"));
  EXPECT_EQ(DoneJson({"ls"}), Json::array());
  Json removed = DoneJson({"ls", "--removed"});
  ASSERT_EQ(removed.size(), 1u);
  EXPECT_EQ(removed[0]["name"], "v");
  EXPECT_THAT(out, HasSubstr(removed[0]["expires_at"]));
  EXPECT_EQ(ParseTime(removed[0]["expires_at"].get<std::string>(), kInstantMax).ns,
            ParseTime(removed[0]["removed_at"].get<std::string>(), kInstantMax).ns +
                ParseDuration("trash", "24h"));
  EXPECT_THAT(Done({"ls", "--removed"}), StartsWith("NAME"));
  for (const char* command : {"inspect", "now", "pins", "retention", "rm"}) {
    EXPECT_THAT(RefusedLine({command, "v"}), HasSubstr("v")) << command;
  }
  RefusedLine({"mount", "v", MakeDirectory("no")});
  EXPECT_FALSE(testing::IsMounted(MakeDirectory("no")));

  daemon_.Stop();
  daemon_.Restart();
  Done({"create", "again", "-o", "clone-of=v"});
  EXPECT_EQ(Contents("again"), "two");
  Done({"create", "past", "-o", "snapshot-of=v", "-o", "at=" + v[0]});
  EXPECT_EQ(Contents("past"), "one");
  // A new volume of that name is a new volume.
  MakeVolume("v", {"new"});
  Done({"create", "newer", "-o", "clone-of=v"});
  EXPECT_EQ(Contents("newer"), "new");
  EXPECT_THAT(RemovedNames(), ElementsAre("v"));
  EXPECT_EQ(Done({"purge", "v"}), "v\n");
  EXPECT_THAT(RemovedNames(), IsEmpty());
  EXPECT_EQ(Contents("v"), "new");
  EXPECT_EQ(Contents("again"), "two");
  EXPECT_EQ(Contents("past"), "one");
}

TEST_F(HistoryCommandsTest, AClonedRemovedVolumeMayHaveItsNameAgain) {
  MakeVolume("v", {"one"});
  Done({"rm", "v"});
  Done({"create", "v", "-o", "clone-of=v"});
  EXPECT_EQ(Contents("v"), "one");
  EXPECT_EQ(Done({"create", "v", "-o", "clone-of=v"}), "v\n") << "the same again is success";
  EXPECT_THAT(RemovedNames(), ElementsAre("v"));
  Done({"purge", "v"});
  EXPECT_EQ(Contents("v"), "one");
}

TEST_F(HistoryCommandsTest, RemovalByDockerIsTheSame) {
  MakeVolume("v", {"one"});
  EXPECT_EQ(daemon_.Post("VolumeDriver.Remove", {{"Name", "v"}})["Err"], "");
  EXPECT_THAT(RemovedNames(), ElementsAre("v"));
  EXPECT_EQ(daemon_.Post("VolumeDriver.Create",
                         {{"Name", "again"}, {"Opts", {{"clone-of", "v"}}}})["Err"],
            "");
  EXPECT_EQ(Contents("again"), "one");
}

TEST_F(HistoryCommandsTest, WithoutTrashRemovedIsGone) {
  MakeVolume("v", {"one"}, {"trash=0"});
  EXPECT_EQ(Done({"rm", "v"}), "v\n");
  EXPECT_THAT(RemovedNames(), IsEmpty());
  EXPECT_THAT(RefusedLine({"create", "again", "-o", "clone-of=v"}), HasSubstr("v"));
  EXPECT_THAT(RefusedLine({"purge", "v"}), HasSubstr("v"));
}

TEST_F(HistoryCommandsTest, OnlyRemovedVolumesCanBePurged) {
  MakeVolume("v", {"one"});
  EXPECT_THAT(RefusedLine({"purge", "v"}), HasSubstr("v"));
  const stdfs::path directory = MakeDirectory("mounted");
  Done({"mount", "v", directory});
  EXPECT_THAT(RefusedLine({"purge", "v"}), HasSubstr("v"));
  EXPECT_EQ(Read(directory / "file"), "one");
  Done({"umount", directory});
  EXPECT_THAT(RefusedLine({"purge", "nobody"}), HasSubstr("nobody"));
  EXPECT_EQ(Contents("v"), "one");
}

}  // namespace
}  // namespace rw
