// POSIX access control lists, as Linux's xattrs.
#include <sys/xattr.h>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

constexpr const char* kAccess = "system.posix_acl_access";
constexpr const char* kDefault = "system.posix_acl_default";
enum Tag : uint16_t { kUserObj = 1, kUser = 2, kGroupObj = 4, kGroup = 8, kMask = 16, kOther = 32 };

struct Entry {
  uint16_t tag;
  uint16_t permissions;
  uint32_t id = UINT32_MAX;
};
using Acl = std::vector<Entry>;

std::string Encode(const Acl& acl) {
  std::string out("\2\0\0\0", 4);
  for (const Entry& entry : acl) out.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
  return out;
}

// In getfacl's short form, such as "u::rw-,u:65533:r--": permissions in octal.
std::string Get(const std::string& path, const char* which) {
  char buffer[1024];
  const ssize_t size = lgetxattr(path.c_str(), which, buffer, sizeof(buffer));
  if (size < 0) return ErrorName(errno);
  std::ostringstream out;
  for (const char* at = buffer + 4; at < buffer + size; at += sizeof(Entry)) {
    Entry entry;
    std::copy(at, at + sizeof(entry), reinterpret_cast<char*>(&entry));
    const std::string id = entry.id == UINT32_MAX ? "" : std::to_string(entry.id);
    out << (at == buffer + 4 ? "" : ",")
        << std::string_view("?uU?g???G???????m???????????????o")[entry.tag] << id << ":"
        << entry.permissions;
  }
  return out.str();
}

int Set(const std::string& path, const char* which, const Acl& acl) {
  const std::string value = Encode(acl);
  return lsetxattr(path.c_str(), which, value.data(), value.size(), 0);
}

const Acl kAliceReads = {
    {kUserObj, 6}, {kUser, 4, kAlice.uid}, {kGroupObj, 0}, {kMask, 4}, {kOther, 0}};

}  // namespace

POSIX_CHECK(acl, GivesANamedUserWhatTheModeDoesNot) {
  const std::string path = run.MakeFile("file", "data", 0600);
  run.As(kAlice, [&] { SAME(OpenError(path, O_RDONLY), EACCES); });
  SAME(run.TimesChangedBy(path, [&] { OK(Set(path, kAccess, kAliceReads)); }), unsigned{kCtime});
  run.As(kAlice, [&] {
    SAME(OpenError(path, O_RDONLY), 0);
    SAME(OpenError(path, O_WRONLY), EACCES);
  });
  run.As(kBob, [&] { SAME(OpenError(path, O_RDONLY), EACCES); });
  SAME(run.Mode(path), mode_t{0640});
  SAME(Get(path, kAccess), "u:6,U65533:4,g:0,m:4,o:0");
}

POSIX_CHECK(acl, GivesANamedGroup) {
  const std::string path = run.MakeFile("file", "data", 0600);
  OK(Set(path, kAccess,
         {{kUserObj, 6}, {kGroupObj, 0}, {kGroup, 6, kAlice.groups[1]}, {kMask, 7}, {kOther, 0}}));
  run.As(kAlice, [&] { SAME(OpenError(path, O_RDWR), 0); });
  run.As(kBob, [&] { SAME(OpenError(path, O_RDONLY), EACCES); });
}

POSIX_CHECK(acl, ChmodSetsTheMaskAndTheMaskLimits) {
  const std::string path = run.MakeFile("file", "data", 0600);
  OK(Set(path, kAccess,
         {{kUserObj, 6}, {kUser, 6, kAlice.uid}, {kGroupObj, 4}, {kMask, 6}, {kOther, 0}}));
  OK(chmod(path.c_str(), 0640));
  SAME(Get(path, kAccess), "u:6,U65533:6,g:4,m:4,o:0");
  run.As(kAlice, [&] {
    SAME(OpenError(path, O_RDONLY), 0);
    SAME(OpenError(path, O_RDWR), EACCES);
  });
  OK(chmod(path.c_str(), 0610));
  run.As(kAlice, [&] { SAME(OpenError(path, O_RDONLY), EACCES); });
}

POSIX_CHECK(acl, ThatSaysNoMoreThanTheModeIsTheMode) {
  const std::string path = run.MakeFile("file", "", 0600);
  OK(Set(path, kAccess, {{kUserObj, 7}, {kGroupObj, 5}, {kOther, 1}}));
  SAME(run.Mode(path), mode_t{0751});
  SAME(Get(path, kAccess), "ENODATA");
  OK(Set(path, kAccess, kAliceReads));
  OK(lremovexattr(path.c_str(), kAccess));
  SAME(Get(path, kAccess), "ENODATA");
}

POSIX_CHECK(acl, IsInheritedByWhatIsMade) {
  const std::string dir = run.MakeDirectory("d");
  OK(Set(dir, kDefault,
         {{kUserObj, 7}, {kUser, 7, kAlice.uid}, {kGroupObj, 5}, {kMask, 7}, {kOther, 5}}));
  umask(077);  // without effect beside a default list
  SAME(OpenError(run.Path("d/file"), O_CREAT | O_WRONLY, 0664), 0);
  OK(mkdir(run.Path("d/directory").c_str(), 0777));
  OK(mkfifo(run.Path("d/fifo").c_str(), 0600));
  OK(symlink("x", run.Path("d/symlink").c_str()));
  umask(0);
  SAME(run.Mode(run.Path("d/file")), mode_t{0664});
  SAME(Get(run.Path("d/file"), kAccess), "u:6,U65533:7,g:5,m:6,o:4");
  SAME(Get(run.Path("d/file"), kDefault), "ENODATA");
  SAME(Get(run.Path("d/directory"), kAccess), "u:7,U65533:7,g:5,m:7,o:5");
  SAME(Get(run.Path("d/directory"), kDefault), Get(dir, kDefault));
  SAME(Get(run.Path("d/fifo"), kAccess), "u:6,U65533:7,g:5,m:0,o:0");
  SAME(run.Mode(run.Path("d/symlink")), mode_t{0777});
  OK(lremovexattr(dir.c_str(), kDefault));
  SAME(OpenError(run.Path("d/later"), O_CREAT | O_WRONLY, 0664), 0);
  SAME(Get(run.Path("d/later"), kAccess), "ENODATA");
}

POSIX_CHECK(acl, Refusals) {
  const std::string path = run.MakeFile("file");
  OK(symlink("file", run.Path("symlink").c_str()));
  FAILS(EACCES, Set(path, kDefault, kAliceReads));
  FAILS(EINVAL, Set(path, kAccess, {{kUserObj, 6}, {kGroupObj, 4}}));
  FAILS(EINVAL, Set(path, kAccess, {{kUserObj, 6}, {kUser, 6, 1}, {kGroupObj, 4}, {kOther, 0}}));
  FAILS(EINVAL, setxattr(path.c_str(), kAccess, "\2\0\0\0xyz", 7, 0));
  FAILS(EOPNOTSUPP, setxattr(path.c_str(), kAccess, "\1\0\0\0", 4, 0));
  FAILS(EOPNOTSUPP, Set(run.Path("symlink"), kAccess, kAliceReads));
  OK(chmod(path.c_str(), 0666));
  run.As(kAlice, [&] { FAILS(EPERM, Set(path, kAccess, kAliceReads)); });
  SAME(Get(path, kAccess), "ENODATA");
}

// Who is not in the file's group loses setgid by setting a list, as by chmod.
POSIX_CHECK(acl, TakesSetgidFromWhoIsNotInTheGroup) {
  const std::string path = run.MakeFile("file");
  OK(chown(path.c_str(), kAlice.uid, kBob.gid));
  OK(chmod(path.c_str(), 02755));
  run.As(kAlice, [&] { OK(Set(path, kAccess, kAliceReads)); });
  SAME(run.Mode(path), mode_t{0640});
}

}  // namespace rw::testing
