// What volumes do not do is refused with the errno that the README's table gives, and does nothing.
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/swap.h>
#include <sys/xattr.h>

#include "tests/posix/check.h"

namespace rw::testing {

VOLUME_CHECK(refused, CloningByIoctl) {
  const Fd from(run.MakeFile("from", std::string(8192, 'a')), O_RDONLY);
  const Fd to(run.MakeFile("to"), O_RDWR);
  FAILS(EOPNOTSUPP, ioctl(to, FICLONE, int{from}));
  file_clone_range range{};
  range.src_fd = from;
  FAILS(EOPNOTSUPP, ioctl(to, FICLONERANGE, &range));
  SAME(run.Stat(run.Path("to")).st_size, off_t{0});
}

VOLUME_CHECK(refused, FlagsOfFiles) {
  const Fd fd(run.MakeFile("file"), O_RDWR);
  int flags = 0;
  FAILS(ENOTTY, ioctl(fd, FS_IOC_GETFLAGS, &flags));
  flags = FS_IMMUTABLE_FL;
  FAILS(ENOTTY, ioctl(fd, FS_IOC_SETFLAGS, &flags));
  SAME(pwrite(fd, "x", 1, 0), ssize_t{1});
}

VOLUME_CHECK(refused, Swapping) {
  run.MakeFile("file", std::string(65536, '\0'), 0600);
  FAILS(EINVAL, swapon(run.Path("file").c_str(), 0));
}

VOLUME_CHECK(refused, SystemXattrsThatAreNoLists) {
  const std::string path = run.MakeFile("file");
  FAILS(EOPNOTSUPP, setxattr(path.c_str(), "system.nfs4_acl", "x", 1, 0));
  char byte;
  FAILS(EOPNOTSUPP, getxattr(path.c_str(), "system.nfs4_acl", &byte, 1));
}

}  // namespace rw::testing
