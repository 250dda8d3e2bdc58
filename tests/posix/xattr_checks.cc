// Extended attributes.
#include <sys/xattr.h>

#include <set>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

int Set(const std::string& path, const std::string& name, const std::string& value, int flags = 0) {
  return lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags);
}
// "?" and the errno's name if there is none.
std::string Get(const std::string& path, const std::string& name) {
  std::string value(65536, '\0');
  const ssize_t size = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  return size < 0 ? "?" + ErrorName(errno) : value.substr(0, static_cast<size_t>(size));
}
std::set<std::string> List(const std::string& path) {
  std::string list(65536, '\0');
  const ssize_t size = llistxattr(path.c_str(), list.data(), list.size());
  std::set<std::string> names;
  std::istringstream in(list.substr(0, size < 0 ? 0 : static_cast<size_t>(size)));
  for (std::string name; std::getline(in, name, '\0');) names.insert(name);
  return names;
}

using Names = std::set<std::string>;

}  // namespace

POSIX_CHECK(xattr, SetGetListRemove) {
  run.MakeFile("file");
  run.MakeDirectory("directory");
  for (const char* name : {"file", "directory"}) {
    const std::string path = run.Path(name);
    THAT(List(path) == Names());
    SAME(Get(path, "user.a"), "?ENODATA");
    OK(Set(path, "user.a", "value"));
    OK(Set(path, "user.b", ""));
    OK(Set(path, "trusted.c", std::string("a\0b\xff", 4)));
    OK(Set(path, "security.d", "d"));
    SAME(Get(path, "user.a"), "value");
    SAME(Get(path, "user.b"), "");
    SAME(Get(path, "trusted.c"), std::string("a\0b\xff", 4));
    THAT((List(path) == Names{"user.a", "user.b", "trusted.c", "security.d"}));
    OK(Set(path, "user.a", "a longer value than before"));
    SAME(Get(path, "user.a"), "a longer value than before");
    OK(lremovexattr(path.c_str(), "user.a"));
    FAILS(ENODATA, lremovexattr(path.c_str(), "user.a"));
    SAME(Get(path, "user.a"), "?ENODATA");
    THAT((List(path) == Names{"user.b", "trusted.c", "security.d"}));
  }
}

POSIX_CHECK(xattr, CreateAndReplace) {
  const std::string path = run.MakeFile("file");
  FAILS(ENODATA, Set(path, "user.a", "1", XATTR_REPLACE));
  OK(Set(path, "user.a", "1", XATTR_CREATE));
  FAILS(EEXIST, Set(path, "user.a", "2", XATTR_CREATE));
  SAME(Get(path, "user.a"), "1");
  OK(Set(path, "user.a", "2", XATTR_REPLACE));
  SAME(Get(path, "user.a"), "2");
  FAILS(EINVAL, Set(path, "user.a", "3", 4));
}

POSIX_CHECK(xattr, SmallBuffers) {
  const std::string path = run.MakeFile("file");
  OK(Set(path, "user.a", "value"));
  char buffer[4];
  SAME(getxattr(path.c_str(), "user.a", nullptr, 0), ssize_t{5});
  FAILS(ERANGE, getxattr(path.c_str(), "user.a", buffer, sizeof(buffer)));
  SAME(listxattr(path.c_str(), nullptr, 0), ssize_t{7});
  FAILS(ERANGE, listxattr(path.c_str(), buffer, sizeof(buffer)));
}

POSIX_CHECK(xattr, NamesAndSizes) {
  const std::string path = run.MakeFile("file");
  const std::string longest = "user." + std::string(250, 'n');
  OK(Set(path, longest, "value"));
  SAME(Get(path, longest), "value");
  THAT(List(path) == Names{longest});
  OK(lremovexattr(path.c_str(), longest.c_str()));
  FAILS(ERANGE, Set(path, longest + "n", "value"));
  FAILS(ERANGE, lremovexattr(path.c_str(), (longest + "n").c_str()));
  FAILS(ERANGE, Set(path, "", "value"));
  FAILS(E2BIG, Set(path, "user.a", std::string(65537, 'v')));
  OK(Set(path, "user.a", std::string(2000, 'v')));
  SAME(Get(path, "user.a"), std::string(2000, 'v'));
}

VOLUME_CHECK(xattr, ValuesOf64KiBAndManyOfThem) {
  const std::string path = run.MakeFile("file");
  OK(Set(path, "user.a", std::string(65536, 'v')));
  SAME(Get(path, "user.a").size(), size_t{65536});
  for (int i = 0; i < 200; ++i)
    OK(Set(path, "user." + std::to_string(i), std::string(1000, static_cast<char>(i))));
  SAME(List(path).size(), size_t{201});
  SAME(Get(path, "user.199"), std::string(1000, static_cast<char>(199)));
}

POSIX_CHECK(xattr, NamesOfNoNamespace) {
  const std::string path = run.MakeFile("file");
  for (const char* name : {"a", "other.a", "User.a", "users.a", "system.a"}) {
    FAILS(EOPNOTSUPP, Set(path, name, "value"));
    SAME(Get(path, name), "?EOPNOTSUPP");
    FAILS(EOPNOTSUPP, lremovexattr(path.c_str(), name));
  }
  for (const char* name : {"user.", "trusted.", "security."}) FAILS(EINVAL, Set(path, name, "v"));
  THAT(List(path) == Names());
}

POSIX_CHECK(xattr, KindsThatHaveNoUserXattrs) {
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  OK(symlink("fifo", run.Path("symlink").c_str()));
  OK(mknod(run.Path("device").c_str(), S_IFCHR | 0600, 0x103));
  for (const char* name : {"fifo", "symlink", "device"}) {
    FAILS(EPERM, Set(run.Path(name), "user.a", "value"));
    OK(Set(run.Path(name), "trusted.a", "value"));
    SAME(Get(run.Path(name), "trusted.a"), "value");
    SAME(Get(run.Path(name), "user.a"), "?ENODATA");
  }
}

POSIX_CHECK(xattr, WhoMay) {
  const std::string path = run.MakeFile("file", "", 0644);
  OK(Set(path, "user.a", "value"));
  OK(Set(path, "trusted.b", "value"));
  run.As(kAlice, [&] {
    SAME(Get(path, "user.a"), "value");
    SAME(Get(path, "trusted.b"), "?ENODATA");
    THAT(List(path) == Names{"user.a"});
    FAILS(EACCES, Set(path, "user.a", "other"));
    FAILS(EACCES, lremovexattr(path.c_str(), "user.a"));
    FAILS(EPERM, Set(path, "trusted.b", "other"));
    FAILS(EPERM, Set(path, "security.c", "other"));
  });
  OK(chmod(path.c_str(), 0600));
  run.As(kAlice, [&] { SAME(Get(path, "user.a"), "?EACCES"); });
  const std::string dir = run.MakeDirectory("sticky", 01777);
  run.As(kAlice, [&] { FAILS(EPERM, Set(dir, "user.a", "value")); });
}

POSIX_CHECK(xattr, ChangeTime) {
  const std::string path = run.MakeFile("file");
  SAME(run.TimesChangedBy(path, [&] { OK(Set(path, "user.a", "1")); }), unsigned{kCtime});
  SAME(run.TimesChangedBy(path, [&] { OK(lremovexattr(path.c_str(), "user.a")); }),
       unsigned{kCtime});
  SAME(run.TimesChangedBy(path, [&] { FAILS(ENODATA, lremovexattr(path.c_str(), "user.a")); }),
       kNoTime);
}

POSIX_CHECK(xattr, BelongToTheFileNotToItsName) {
  const std::string path = run.MakeFile("file");
  OK(Set(path, "user.a", "1"));
  OK(link(path.c_str(), run.Path("link").c_str()));
  OK(rename(path.c_str(), run.Path("renamed").c_str()));
  SAME(Get(run.Path("link"), "user.a"), "1");
  const Fd fd(run.Path("link"), O_RDONLY);
  OK(unlink(run.Path("link").c_str()));
  OK(unlink(run.Path("renamed").c_str()));
  OK(fsetxattr(fd, "user.b", "2", 1, 0));
  char value = 0;
  SAME(fgetxattr(fd, "user.b", &value, 1), ssize_t{1});
  SAME(value, '2');
  run.MakeFile("file");
  THAT(List(path) == Names());
}

}  // namespace rw::testing
