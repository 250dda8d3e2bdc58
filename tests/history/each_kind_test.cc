// Goal: every kind of operation that changes a volume has history: just before its instant things
// are as they were, at it they are as it left them, whatever is done later.
//
// Method: each kind by name, with system calls on a mounted volume of which it has a directory of
// its own; instants are taken before and after it. When all is done and the directories are
// removed, they are looked at as of then, through `.rewind/<time>` and through a mount of the
// volume as of then, and must say what is written here.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "fs/store.h"
#include "metadata/time_text.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/reference_model_acl.h"
#include "tests/support/system_clock.h"

namespace rw::testing {
namespace {

using Path = std::filesystem::path;

// --- doing and looking ---

int Open(const Path& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CREAT | O_CLOEXEC, 0644);
  EXPECT_GE(fd, 0) << path;
  return fd;
}

void Write(const Path& path, const std::string& text, off_t offset = 0, int flags = 0) {
  const int fd = Open(path, O_WRONLY | flags);
  EXPECT_EQ(pwrite(fd, text.data(), text.size(), offset), static_cast<ssize_t>(text.size()));
  close(fd);
}

std::string Text(const Path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return file ? text.str() : "absent";
}

struct stat Stat(const Path& path) {
  struct stat st {};
  lstat(path.c_str(), &st);
  return st;
}

std::string Mode(const Path& path) {
  std::ostringstream text;
  text << std::oct << Stat(path).st_mode;
  return text.str();
}

std::string Owner(const Path& path) {
  return std::to_string(Stat(path).st_uid) + ":" + std::to_string(Stat(path).st_gid);
}

std::string Links(const Path& path) { return std::to_string(Stat(path).st_nlink); }

std::string Times(const Path& path) {
  const struct stat st = Stat(path);
  return std::to_string(st.st_atim.tv_sec) + "." + std::to_string(st.st_atim.tv_nsec) + " " +
         std::to_string(st.st_mtim.tv_sec) + "." + std::to_string(st.st_mtim.tv_nsec);
}

void SetXattr(const Path& path, const std::string& name, const std::string& value) {
  EXPECT_EQ(lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0), 0) << name;
}

std::string Xattr(const Path& path, const std::string& name) {
  std::string value(1000, '\0');
  const ssize_t size = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  return size < 0 ? "absent" : value.substr(0, static_cast<size_t>(size));
}

// Names in order, with what they lead to if that is a file with contents.
std::string Names(const Path& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.insert(entry.path().filename());
  }
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

void Rename(const Path& from, const Path& to, unsigned flags = 0) {
  EXPECT_EQ(renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags), 0);
}

void Fallocate(const Path& path, int mode, off_t offset, off_t length) {
  const int fd = Open(path, O_WRONLY);
  EXPECT_EQ(fallocate(fd, mode, offset, length), 0);
  close(fd);
}

void SetTimes(const Path& path, timespec atime, timespec mtime) {
  const timespec times[2] = {atime, mtime};
  EXPECT_EQ(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
}

const std::string kList = EncodeModelAcl({{1, 7}, {2, 6, 1000}, {4, 5}, {16, 7}, {32, 0}});

// --- the kinds ---

struct Kind {
  const char* name;
  void (*prepare)(const Path& dir);
  void (*perform)(const Path& dir);
  std::string (*look)(const Path& dir);
  std::string before, after;
};

const auto kNothing = [](const Path&) {};
const auto kFile = [](const Path& d) { Write(d / "f", "old"); };
const auto kTwo = [](const Path& d) {
  std::filesystem::create_directory(d / "one");
  std::filesystem::create_directory(d / "two");
  Write(d / "one/f", "f");
  Write(d / "two/g", "g");
};
const auto kText = [](const Path& d) { return Text(d / "f"); };
const auto kNames = [](const Path& d) { return Names(d); };
const auto kModeOf = [](const Path& d) { return Mode(d / "f"); };
const auto kTwoNames = [](const Path& d) {
  return Names(d / "one") + " | " + Names(d / "two") + " | " + Text(d / "one/f") + " | " +
         Text(d / "two/g");
};

const std::vector<Kind> kNameKinds = {
    {"create", kNothing, kFile, kNames, "", "f"},
    {"names of any bytes", kNothing,
     [](const Path& d) { Write(d / (std::string(250, 'n') + "\xff\x01\xfe\n*"), ""); }, kNames, "",
     std::string(250, 'n') + "\xff\x01\xfe\n*"},
    {"mkdir", kNothing, [](const Path& d) { std::filesystem::create_directory(d / "sub"); },
     [](const Path& d) { return Names(d) + " " + Links(d); }, " 2", "sub 3"},
    {"rmdir", [](const Path& d) { std::filesystem::create_directory(d / "sub"); },
     [](const Path& d) { rmdir((d / "sub").c_str()); },
     [](const Path& d) { return Names(d) + " " + Links(d); }, "sub 3", " 2"},
    {"symlink", kNothing, [](const Path& d) { std::filesystem::create_symlink("to", d / "l"); },
     [](const Path& d) {
       return std::filesystem::is_symlink(d / "l") ? std::filesystem::read_symlink(d / "l").string()
                                                   : "absent";
     },
     "absent", "to"},
    {"a symlink replaced by another",
     [](const Path& d) {
       std::filesystem::create_symlink("old", d / "l");
       std::filesystem::create_symlink("new", d / "m");
     },
     [](const Path& d) { Rename(d / "m", d / "l"); },
     [](const Path& d) { return std::filesystem::read_symlink(d / "l").string(); }, "old", "new"},
    {"fifo", kNothing, [](const Path& d) { mkfifo((d / "f").c_str(), 0600); }, kModeOf, "0",
     "10600"},
    {"socket", kNothing, [](const Path& d) { mknod((d / "f").c_str(), S_IFSOCK | 0600, 0); },
     kModeOf, "0", "140600"},
    {"device", kNothing,
     [](const Path& d) { mknod((d / "f").c_str(), S_IFCHR | 0600, makedev(250, 7)); },
     [](const Path& d) { return std::to_string(Stat(d / "f").st_rdev == makedev(250, 7)); }, "0",
     "1"},
    {"link", kFile, [](const Path& d) { std::filesystem::create_hard_link(d / "f", d / "g"); },
     [](const Path& d) { return Names(d) + " " + Links(d / "f"); }, "f 1", "f g 2"},
    {"unlink of one of two links",
     [](const Path& d) {
       kFile(d);
       std::filesystem::create_hard_link(d / "f", d / "g");
     },
     [](const Path& d) { unlink((d / "f").c_str()); },
     [](const Path& d) { return Names(d) + " " + Links(d / "g") + " " + Text(d / "g"); },
     "f g 2 old", "g 1 old"},
    {"unlink", kFile, [](const Path& d) { unlink((d / "f").c_str()); }, kText, "old", "absent"},
    {"rename across directories", kTwo, [](const Path& d) { Rename(d / "one/f", d / "two/f"); },
     kTwoNames, "f | g | f | g", " | f g | absent | g"},
    {"rename of a directory with contents", kTwo,
     [](const Path& d) { Rename(d / "one", d / "two/one"); },
     [](const Path& d) {
       return Names(d) + " | " + Links(d) + " | " + Links(d / "two") + " | " + Text(d / "one/f") +
              " | " + Text(d / "two/one/f");
     },
     "one two | 4 | 2 | f | absent", "two | 3 | 3 | absent | f"},
    {"rename over a file", kTwo, [](const Path& d) { Rename(d / "one/f", d / "two/g"); }, kTwoNames,
     "f | g | f | g", " | g | absent | f"},
    {"RENAME_NOREPLACE", kTwo,
     [](const Path& d) { Rename(d / "one/f", d / "two/h", RENAME_NOREPLACE); }, kTwoNames,
     "f | g | f | g", " | g h | absent | g"},
    {"RENAME_EXCHANGE", kTwo,
     [](const Path& d) { Rename(d / "one/f", d / "two/g", RENAME_EXCHANGE); }, kTwoNames,
     "f | g | f | g", "f | g | g | f"},
    {"RENAME_EXCHANGE of a file and a directory", kTwo,
     [](const Path& d) { Rename(d / "one/f", d / "two", RENAME_EXCHANGE); },
     [](const Path& d) { return Names(d / "one/f") + " | " + Text(d / "two"); }, "error", "g | f"},
    {"RENAME_WHITEOUT", kTwo,
     [](const Path& d) { Rename(d / "one/f", d / "two/f", RENAME_WHITEOUT); },
     [](const Path& d) { return Mode(d / "one/f") + " | " + Text(d / "two/f"); }, "100644 | absent",
     "20000 | f"},
    {"O_TMPFILE with a later linkat", kNothing,
     [](const Path& d) {
       const int fd = open(d.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0640);
       EXPECT_EQ(write(fd, "text", 4), 4);
       const std::string self = "/proc/self/fd/" + std::to_string(fd);
       EXPECT_EQ(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, (d / "f").c_str(), AT_SYMLINK_FOLLOW), 0);
       close(fd);
     },
     [](const Path& d) { return Names(d) + " " + Text(d / "f") + " " + Links(d / "f"); },
     " absent 0", "f text 1"},
};

const std::vector<Kind> kContentsKinds = {
    {"write", kFile, [](const Path& d) { Write(d / "f", "new"); }, kText, "old", "new"},
    {"append", kFile, [](const Path& d) { Write(d / "f", "+new", 0, O_APPEND); }, kText, "old",
     "old+new"},
    {"O_TRUNC", kFile, [](const Path& d) { close(Open(d / "f", O_WRONLY | O_TRUNC)); }, kText,
     "old", ""},
    {"truncate", kFile, [](const Path& d) { truncate((d / "f").c_str(), 1); }, kText, "old", "o"},
    {"truncate that makes it longer", kFile, [](const Path& d) { truncate((d / "f").c_str(), 5); },
     kText, "old", std::string("old\0\0", 5)},
    {"a store into a mapping", kFile,
     [](const Path& d) {
       const int fd = Open(d / "f", O_RDWR);
       void* mapping = mmap(nullptr, 3, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
       static_cast<char*>(mapping)[1] = 'L';
       EXPECT_EQ(msync(mapping, 3, MS_SYNC), 0);
       munmap(mapping, 3);
       close(fd);
     },
     kText, "old", "oLd"},
    {"O_DIRECT", kFile,
     [](const Path& d) {
       const int fd = Open(d / "f", O_WRONLY | O_DIRECT);
       alignas(4096) static char block[4096] = "direct";
       EXPECT_EQ(pwrite(fd, block, sizeof(block), 0), static_cast<ssize_t>(sizeof(block)));
       close(fd);
     },
     [](const Path& d) { return Text(d / "f").substr(0, 6); }, "old", "direct"},
    {"fallocate", kFile, [](const Path& d) { Fallocate(d / "f", 0, 2, 2); }, kText, "old",
     std::string("old\0", 4)},
    {"FALLOC_FL_PUNCH_HOLE", kFile,
     [](const Path& d) { Fallocate(d / "f", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 9); },
     kText, "old", std::string("o\0\0", 3)},
    {"FALLOC_FL_ZERO_RANGE", kFile,
     [](const Path& d) { Fallocate(d / "f", FALLOC_FL_ZERO_RANGE, 1, 3); }, kText, "old",
     std::string("o\0\0\0", 4)},
    {"copy_file_range", [](const Path& d) { kFile(d), Write(d / "g", "source"); },
     [](const Path& d) {
       const int from = Open(d / "g", O_RDONLY);
       const int to = Open(d / "f", O_WRONLY);
       EXPECT_EQ(copy_file_range(from, nullptr, to, nullptr, 6, 0), 6);
       close(from);
       close(to);
     },
     kText, "old", "source"},
    {"a write at the very end of the largest file", kFile,
     [](const Path& d) { Write(d / "f", "end", INT64_MAX - 3); },
     [](const Path& d) {
       const int fd = open((d / "f").c_str(), O_RDONLY | O_CLOEXEC);
       char end[4] = "   ";
       if (pread(fd, end, 3, INT64_MAX - 3) < 0) return std::string("error");
       std::string text = std::string(end) + " " + std::to_string(lseek(fd, 0, SEEK_HOLE)) + " " +
                          std::to_string(lseek(fd, 3, SEEK_DATA));
       close(fd);
       return text;
     },
     "    3 -1", "end 3 " + std::to_string(INT64_MAX - 3)},
};

const std::vector<Kind> kAttributeKinds = {
    {"chmod", kFile, [](const Path& d) { chmod((d / "f").c_str(), 01711); }, kModeOf, "100644",
     "101711"},
    {"chown", kFile, [](const Path& d) { chown((d / "f").c_str(), 33, 1000); },
     [](const Path& d) { return Owner(d / "f"); }, "0:0", "33:1000"},
    {"setuid and setgid cleared by a change of owner",
     [](const Path& d) { kFile(d), chmod((d / "f").c_str(), 06711); },
     [](const Path& d) { chown((d / "f").c_str(), 33, 33); }, kModeOf, "106711", "100711"},
    {"a group inherited", [](const Path& d) { chown(d.c_str(), 0, 77), chmod(d.c_str(), 02755); },
     [](const Path& d) { kFile(d), std::filesystem::create_directory(d / "sub"); },
     [](const Path& d) { return Owner(d / "f") + " " + Mode(d / "sub"); }, "0:0 0", "0:77 42777"},
    {"times before 1970",
     [](const Path& d) {
       kFile(d), SetTimes(d / "f", {1, 1}, {2, 2});
     },
     [](const Path& d) {
       SetTimes(d / "f", {-2'000'000'000, 999'999'999}, {-1, 1});
     },
     [](const Path& d) { return Times(d / "f"); }, "1.1 2.2", "-2000000000.999999999 -1.1"},
    {"times after 2038",
     [](const Path& d) {
       kFile(d), SetTimes(d / "f", {1, 1}, {2, 2});
     },
     [](const Path& d) {
       SetTimes(d / "f", {9'000'000'000, 5}, {0, UTIME_OMIT});
     },
     [](const Path& d) { return Times(d / "f"); }, "1.1 2.2", "9000000000.5 2.2"},
    {"user xattr", [](const Path& d) { kFile(d), SetXattr(d / "f", "user.a", "old"); },
     [](const Path& d) { SetXattr(d / "f", "user.a", ""); },
     [](const Path& d) { return Xattr(d / "f", "user.a"); }, "old", ""},
    {"trusted xattr of a symlink", [](const Path& d) { symlink("to", (d / "f").c_str()); },
     [](const Path& d) { SetXattr(d / "f", "trusted.a", "value"); },
     [](const Path& d) { return Xattr(d / "f", "trusted.a"); }, "absent", "value"},
    {"security xattr", kFile, [](const Path& d) { SetXattr(d / "f", "security.a", "value"); },
     [](const Path& d) { return Xattr(d / "f", "security.a"); }, "absent", "value"},
    {"removexattr", [](const Path& d) { kFile(d), SetXattr(d / "f", "user.a", "old"); },
     [](const Path& d) { removexattr((d / "f").c_str(), "user.a"); },
     [](const Path& d) { return Xattr(d / "f", "user.a"); }, "old", "absent"},
    {"an ACL", kFile, [](const Path& d) { SetXattr(d / "f", kModelAccessAcl, kList); },
     [](const Path& d) { return Mode(d / "f") + Xattr(d / "f", kModelAccessAcl); }, "100644absent",
     "100770" + kList},
    {"an ACL removed", [](const Path& d) { kFile(d), SetXattr(d / "f", kModelAccessAcl, kList); },
     [](const Path& d) { removexattr((d / "f").c_str(), kModelAccessAcl); },
     [](const Path& d) { return Xattr(d / "f", kModelAccessAcl); }, kList, "absent"},
    {"a default ACL, inherited", [](const Path& d) { SetXattr(d, kModelDefaultAcl, kList); },
     [](const Path& d) { mkdir((d / "f").c_str(), 0777); },
     [](const Path& d) { return Xattr(d / "f", kModelDefaultAcl) + Mode(d / "f"); }, "absent0",
     kList + "40770"},
};

class EachKindTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    umask(0);
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
    CreateRequest request;
    request.name = "volume";
    store_->Create(request);
    mounted_ = std::make_unique<MountedVolume>(*store_, "volume");
  }

  static std::string Look(const Kind& kind, const Path& dir) {
    try {
      return kind.look(dir);
    } catch (const std::filesystem::filesystem_error&) {
      return "error";
    }
  }

  void CheckAt(const Kind& kind, const std::string& dir, Instant at, const std::string& expected) {
    const Path hidden = Path(mounted_->path()) / ".rewind" / FormatInstant(at) / dir;
    EXPECT_EQ(Look(kind, hidden), expected) << kind.name << ", in " << hidden;
    const MountedVolume view(*store_, "volume", at);
    EXPECT_EQ(Look(kind, Path(view.path()) / dir), expected) << kind.name << ", as of " << at.ns;
  }

  void Check(const std::vector<Kind>& kinds) {
    std::vector<std::pair<Instant, Instant>> around;
    for (size_t i = 0; i < kinds.size(); ++i) {
      const Path dir = Path(mounted_->path()) / std::to_string(i);
      std::filesystem::create_directory(dir);
      kinds[i].prepare(dir);
      const Instant before = store_->Now();
      kinds[i].perform(dir);
      around.emplace_back(before, store_->Now());
      EXPECT_EQ(Look(kinds[i], dir), kinds[i].after) << kinds[i].name << ", now";
    }
    for (size_t i = 0; i < kinds.size(); ++i) {
      std::filesystem::remove_all(Path(mounted_->path()) / std::to_string(i));
    }
    for (size_t i = 0; i < kinds.size(); ++i) {
      CheckAt(kinds[i], std::to_string(i), around[i].first, kinds[i].before);
      CheckAt(kinds[i], std::to_string(i), around[i].second, kinds[i].after);
    }
  }

  const TempDir dir_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<MountedVolume> mounted_;
};

TEST_F(EachKindTest, OfChangeOfNames) { Check(kNameKinds); }
TEST_F(EachKindTest, OfChangeOfContents) { Check(kContentsKinds); }
TEST_F(EachKindTest, OfChangeOfAttributes) { Check(kAttributeKinds); }

}  // namespace
}  // namespace rw::testing
