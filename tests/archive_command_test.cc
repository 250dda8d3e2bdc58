// Goal: `rewind export` and `rewind import` move volumes as tar archives that other programs read
// and write, as of any instant, while the volume is written; whatever breaks off on the way is an
// error, and no archive gets anything out of its volume.
// Method: the real binary, once as the daemon and once as the command, with GNU tar and bsdtar; and
// hostile archives, header by header.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <sstream>
#include <thread>

#include "tests/support/command_line_test.h"

namespace rw {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;
namespace stdfs = std::filesystem;

// A tar header as POSIX has it since 1988.
std::string Header(const std::string& name, char type, uint64_t size = 0,
                   const std::string& target = "") {
  std::string block(512, '\0');
  const auto put = [&block](size_t at, const std::string& text) {
    block.replace(at, text.size(), text);
  };
  const auto octal = [](uint64_t number, int digits) {
    char text[32];
    std::snprintf(text, sizeof text, "%0*lo", digits, static_cast<unsigned long>(number));
    return std::string(text);
  };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, octal(size, 11));
  put(136, "00000000000");
  put(148, "        ");
  block[156] = type;
  put(157, target);
  put(257, std::string("ustar\0", 6) + "00");
  put(329, "0000001");
  put(337, "0000003");
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put(148, octal(sum, 6));
  block[154] = '\0';
  return block;
}
std::string Padded(std::string data) {
  data.resize((data.size() + 511) / 512 * 512);
  return data;
}
const std::string kEnd(1024, '\0');

class ArchiveCommandTest : public testing::CommandLineTest {
 protected:
  stdfs::path File(const std::string& name) const { return daemon_.directory() / name; }
  stdfs::path MakeArchive(const std::string& bytes) const {
    std::ofstream(File("made.tar"), std::ios::binary) << bytes;
    return File("made.tar");
  }
  stdfs::path Mount(const std::string& name) const {
    const stdfs::path directory = MakeDirectory("mount of " + name);
    Done({"mount", name, directory});
    return directory;
  }
  std::set<std::string> Volumes() const {
    std::set<std::string> names;
    for (const Json& volume : DoneJson({"ls"})) names.insert(volume.at("name"));
    return names;
  }
  // What the archive must be refused with. Nothing is left of it.
  void ExpectRefused(const std::string& archive, const std::string& why) const {
    SCOPED_TRACE(why);
    EXPECT_THAT(RefusedLine({"import", "hostile", MakeArchive(archive)}), HasSubstr(why));
    EXPECT_THAT(Volumes(), IsEmpty());
    EXPECT_THAT(DoneJson({"ls", "--removed"}), IsEmpty());
  }
};

std::set<std::string> Lines(const std::string& text) {
  std::set<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.insert(line);
  return lines;
}

TEST_F(ArchiveCommandTest, OtherProgramsReadAndWriteThem) {
  Done({"create", "v"});
  const stdfs::path v = Mount("v");
  stdfs::create_directories(v / "a" / "b");
  std::ofstream(v / "a" / "b" / "file") << "contents";
  stdfs::create_hard_link(v / "a" / "b" / "file", v / "link");
  stdfs::create_symlink("/etc/passwd", v / "symlink");
  mkfifo((v / "fifo").c_str(), 0600);
  std::ofstream(v / std::string(255, 'n')) << "long";
  std::ofstream(v / "\xc3\xa9") << "composed";
  std::ofstream(v / "e\xcc\x81") << "decomposed";
  std::ofstream(v / "\xff") << "no UTF-8";
  stdfs::resize_file(v / "a" / "b" / "file", 1 << 30);
  const stdfs::path tar = File("v.tar");
  Done({"export", "v", "-o", tar});
  EXPECT_LT(stdfs::file_size(tar), 200'000u);  // holes stay holes
  struct stat st {};
  stat(tar.c_str(), &st);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  const std::set<std::string> names = {"./",       "a/",        "a/b/", "a/b/file",
                                       "link",     "symlink",   "fifo", std::string(255, 'n'),
                                       "\xc3\xa9", "e\xcc\x81", "\xff"};
  EXPECT_EQ(
      Lines(testing::Run({"tar", "--quoting-style=literal", "-tf", tar}, {{"LC_ALL", "C"}}).out),
      names);
  EXPECT_EQ(testing::Run({"bsdtar", "-tf", tar}, {{"LC_ALL", "C.UTF-8"}}).exit_code, 0);

  // Unpacked and packed by others, it is still the same.
  for (const char* program : {"tar", "bsdtar"}) {
    const stdfs::path unpacked = MakeDirectory(std::string("unpacked by ") + program);
    ASSERT_EQ(testing::Run({program, "-xpf", tar, "-C", unpacked}).exit_code, 0);
    const stdfs::path packed = File(std::string(program) + ".tar.gz");
    ASSERT_EQ(testing::Run({program, "-czSf", packed, "-C", unpacked, "."}).exit_code, 0)
        << program;
    const std::string name = std::string("by-") + program;
    EXPECT_EQ(Done({"import", name, packed, "-o", "size=2G"}), name + "\n");
    const stdfs::path back = Mount(name);
    // bsdtar takes the two names with an accent for one.
    const auto same = testing::Run({"diff", "-r", "--no-dereference", "--exclude=fifo",
                                    "--exclude=e\xcc\x81", "--exclude=\xc3\xa9", v, back});
    EXPECT_EQ(same.exit_code, 0) << program << same.out << same.err;
    EXPECT_EQ(stdfs::hard_link_count(back / "link"), 2u);
    EXPECT_LT(DoneJson({"inspect", name}).at("live_bytes"), 100'000);  // of the gigabyte
    Done({"umount", back});
  }
  Done({"umount", v});
}

TEST_F(ArchiveCommandTest, AnOldInstantIsExportedWhileTheVolumeIsWritten) {
  Done({"create", "v"});
  const stdfs::path v = Mount("v");
  std::atomic<bool> end{false};
  std::atomic<uint64_t> rounds{0};
  // In each state of the volume, the first file is as new as the second, or one newer.
  std::thread writer([&] {
    for (uint64_t i = 0; !end; ++i) {
      for (const char* name : {"first", "second"}) {
        const std::string text = std::to_string(1'000'000 + i);
        const int file = open((v / name).c_str(), O_CREAT | O_WRONLY, 0644);
        EXPECT_EQ(pwrite(file, text.data(), text.size(), 0), 7);
        close(file);
      }
      ++rounds;
    }
  });
  while (rounds < 3) std::this_thread::yield();
  std::string old = Done({"now", "v"});
  old.pop_back();
  const stdfs::path before = File("before.tar");
  Done({"export", "v", "--at", old, "-o", before});
  for (int i = 0; i < 5; ++i) {
    const stdfs::path tar = File("now.tar");
    Done({"export", "v", "-o", tar});
    const std::string first = testing::Run({"tar", "-xOf", tar, "first"}).out;
    const std::string second = testing::Run({"tar", "-xOf", tar, "second"}).out;
    EXPECT_THAT(std::stoull(first) - std::stoull(second), ::testing::Le(1u)) << first << second;
    const uint64_t seen = rounds;
    while (rounds < seen + 2) std::this_thread::yield();
    Done({"export", "v", "--at", old, "-o", File("again.tar")});
    EXPECT_EQ(Read(before), Read(File("again.tar")));
  }
  end = true;
  writer.join();
  Done({"umount", v});
}

TEST_F(ArchiveCommandTest, HostileArchivesAreRefusedAndLeaveNothing) {
  ExpectRefused(Header("../out", '0') + kEnd, "not a path within the volume");
  ExpectRefused(Header("a/../../out", '0') + kEnd, "not a path within the volume");
  ExpectRefused(Header("/etc/out", '0') + kEnd, "absolute path");
  ExpectRefused(Header("d", '2', 0, "/tmp") + Header("d/out", '0') + kEnd, "never followed");
  ExpectRefused(Header("d", '2', 0, "..") + Header("l", '1', 0, "d/x") + kEnd, "never followed");
  ExpectRefused(Header("l", '1', 0, "/etc/passwd") + kEnd, "absolute path");
  ExpectRefused(Header("l", '1', 0, "../../etc/passwd") + kEnd, "not a path within the volume");
  ExpectRefused(Header("l", '1', 0, "absent") + kEnd, "not there before it");
  ExpectRefused(Header("f", '0') + Header("f/below", '0') + kEnd, "is not a directory");
  ExpectRefused(Header(".rewind", '5') + kEnd, ".rewind");
  ExpectRefused(Header(".", '0') + kEnd, "root");
  ExpectRefused(Header("huge", '0', 077777777777) + kEnd, "huge");
  ExpectRefused(Header("cut", '0', 5000) + Padded("a"), "cut");
  ExpectRefused(Header("no end", '0'), "ends too early");
  ExpectRefused(Header("a", '0', 3) + Padded("abc") + Header("b", '0').substr(0, 300), "");
  ExpectRefused("", "");
  ExpectRefused("no archive at all", "");
  // Nothing of it was written to where this runs, either.
  EXPECT_FALSE(stdfs::exists("/etc/out"));
  EXPECT_FALSE(stdfs::exists("/tmp/out"));
}

TEST_F(ArchiveCommandTest, WhatIsNotRefusedStaysInTheVolume) {
  // Devices are for who mounts them so; the default is nodev.
  Done({"import", "v",
        MakeArchive(Header("null", '3') + Header("out", '2', 0, "../../../etc/passwd") +
                    Header("./x//y/", '5') + Header("x", '5') + kEnd)});
  const stdfs::path v = Mount("v");
  EXPECT_EQ(stdfs::read_symlink(v / "out"), "../../../etc/passwd");
  EXPECT_TRUE(stdfs::is_character_file(v / "null"));
  EXPECT_LT(open((v / "null").c_str(), O_RDONLY), 0);
  EXPECT_TRUE(stdfs::is_directory(v / "x" / "y"));
  Done({"umount", v});
  Done({"import", "empty", MakeArchive(kEnd)});
}

TEST_F(ArchiveCommandTest, RefusesInOneLine) {
  Done({"create", "v"});
  EXPECT_THAT(RefusedLine({"export", "absent", "-o", File("x")}), HasSubstr("no such volume"));
  EXPECT_FALSE(stdfs::exists(File("x")));
  EXPECT_THAT(RefusedLine({"export", "v", "--at", "nonsense", "-o", File("x")}),
              HasSubstr("nonsense"));
  EXPECT_THAT(RefusedLine({"export", "v", "-o", "/absent/x"}), HasSubstr("/absent/x"));
  EXPECT_THAT(RefusedLine({"export", "v", "-o", "/dev/full"}), HasSubstr("No space left"));
  const stdfs::path tar =
      MakeArchive(Header("f", '0', 5000) + Padded(std::string(5000, 'x')) + kEnd);
  EXPECT_THAT(RefusedLine({"import", "v", tar}), HasSubstr("exists"));
  EXPECT_THAT(RefusedLine({"import", "w", tar, "-o", "size=1K"}), HasSubstr("\"f\""));
  EXPECT_THAT(RefusedLine({"import", "w", tar, "-o", "clone-of=v"}), HasSubstr("starts empty"));
  EXPECT_THAT(RefusedLine({"import", "w", tar, "-o", "nonsense=1"}), HasSubstr("nonsense"));
  EXPECT_THAT(RefusedLine({"import", "a/b", tar}), HasSubstr("a/b"));
  EXPECT_THAT(RefusedLine({"import", "w", File("absent")}), HasSubstr("absent"));
  EXPECT_EQ(Volumes(), std::set<std::string>{"v"});
  // A file that was there stays what it was.
  std::ofstream(File("kept")) << "old";
  RefusedLine({"export", "absent", "-o", File("kept")});
  EXPECT_EQ(Read(File("kept")), "old");
  Done({"export", "v", "-o", File("kept")});
  EXPECT_EQ(Read(File("kept")).substr(257, 5), "ustar");
}

// A volume with more in it than pipes and sockets hold.
void FillLarge(const stdfs::path& directory) {
  for (int i = 0; i < 8; ++i) {
    std::ofstream file(directory / ("file" + std::to_string(i)), std::ios::binary);
    file << std::string(4 << 20, static_cast<char>('a' + i));
  }
}

TEST_F(ArchiveCommandTest, AnExportWhoseDaemonDiesIsAnErrorAndNoArchive) {
  Done({"create", "v"});
  const stdfs::path v = Mount("v");
  FillLarge(v);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    const std::string socket = daemon_.socket();
    execl(REWIND_BINARY, "rewind", "export", "v", "--socket", socket.c_str(), nullptr);
    _exit(99);
  }
  close(ends[1]);
  std::string archive(1 << 20, '\0');
  size_t got = 0;
  while (got < archive.size()) {  // it has begun, and cannot have ended
    const ssize_t count = read(ends[0], archive.data() + got, archive.size() - got);
    ASSERT_GT(count, 0);
    got += static_cast<size_t>(count);
  }
  daemon_.EndDaemon(SIGKILL);
  char buffer[1 << 16];
  for (ssize_t count = 0; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
    archive.append(buffer, static_cast<size_t>(count));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), kExitRefused);
  std::ofstream(File("broken.tar"), std::ios::binary) << archive;
  EXPECT_NE(testing::Run({"tar", "-tf", File("broken.tar")}).exit_code, 0);
  EXPECT_NE(testing::Run({"bsdtar", "-tf", File("broken.tar")}).exit_code, 0);
  RefusedLine({"import", "w", File("broken.tar")});
  Done({"umount", v});
}

TEST_F(ArchiveCommandTest, AnImportThatIsBrokenOffLeavesNothing) {
  const std::string half =
      Header("f", '0', 64 << 20) + std::string(32 << 20, 'x');  // more than fits on the way
  for (const bool daemon_dies : {false, true}) {
    SCOPED_TRACE(daemon_dies ? "the daemon dies" : "the command dies");
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    if (child == 0) {
      dup2(ends[0], STDIN_FILENO);
      const std::string socket = daemon_.socket();
      execl(REWIND_BINARY, "rewind", "import", "w", "--socket", socket.c_str(), nullptr);
      _exit(99);
    }
    close(ends[0]);
    // When all is taken, much of it has come to the daemon.
    for (size_t at = 0; at < half.size();) {
      const ssize_t count = write(ends[1], half.data() + at, half.size() - at);
      ASSERT_GT(count, 0);
      at += static_cast<size_t>(count);
    }
    if (daemon_dies) {
      daemon_.EndDaemon(SIGKILL);
    } else {
      kill(child, SIGKILL);
    }
    close(ends[1]);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_NE(status, 0);
    EXPECT_THAT(Volumes(), IsEmpty());
    // The daemon hears of it by itself; the journal of what was begun goes.
    const auto journals = [&] {
      size_t count = 0;
      for (const auto& entry : stdfs::directory_iterator(daemon_.root() / "journal"))
        count += entry.path().filename() != "0";
      return count;
    };
    while (journals() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  Done({"import", "w", MakeArchive(Header("f", '0') + kEnd)});
}

}  // namespace
}  // namespace rw
