// mkdir, mkfifo, mknod, symlink, sockets: what is made, whose it is, and what its making changes.
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

struct Maker {
  const char* name;
  mode_t type;
  std::function<int(const std::string& path, mode_t mode)> make;
};

int MakeRegular(const std::string& path, mode_t mode) {
  const int error = OpenError(path, O_CREAT | O_EXCL | O_WRONLY, mode);
  errno = error;
  return error == 0 ? 0 : -1;
}

std::vector<Maker> Makers() {
  return {
      {"open", S_IFREG, MakeRegular},
      {"mknod", S_IFREG,
       [](const std::string& p, mode_t mode) { return mknod(p.c_str(), S_IFREG | mode, 0); }},
      {"mkdir", S_IFDIR, [](const std::string& p, mode_t mode) { return mkdir(p.c_str(), mode); }},
      {"mkfifo", S_IFIFO,
       [](const std::string& p, mode_t mode) { return mkfifo(p.c_str(), mode); }},
      {"socket", S_IFSOCK,
       [](const std::string& p, mode_t mode) { return mknod(p.c_str(), S_IFSOCK | mode, 0); }},
  };
}

}  // namespace

POSIX_CHECK(create, ModeIsTakenLessTheUmask) {
  const struct {
    mode_t mode, mask, result;
  } cases[] = {{0755, 0, 0755},   {0151, 0, 0151},    {0777, 022, 0755},
               {0345, 070, 0305}, {0501, 0345, 0400}, {0777, 0777, 0}};
  for (const Maker& maker : Makers()) {
    for (const auto& test : cases) {
      umask(test.mask);
      OK(maker.make(run.Path("x"), test.mode));
      umask(0);
      SAME(run.Stat(run.Path("x")).st_mode, maker.type | test.result);
      OK(remove(run.Path("x").c_str()));
    }
  }
}

POSIX_CHECK(create, OwnerIsWhoMakesIt) {
  for (const Maker& maker : Makers()) {
    run.As(kAlice, [&] { OK(maker.make(run.Path(maker.name), 0644)); });
    const struct stat st = run.Stat(run.Path(maker.name));
    SAME(st.st_uid, kAlice.uid);
    SAME(st.st_gid, kAlice.gid);
  }
  run.As(kAlice, [&] { OK(symlink("x", run.Path("symlink").c_str())); });
  SAME(run.Stat(run.Path("symlink")).st_uid, kAlice.uid);
}

// As System V does: in a directory with setgid, what is made gets its group; directories the bit.
POSIX_CHECK(create, GroupOfASetgidDirectory) {
  OK(chown(run.MakeDirectory("d").c_str(), 0, 4711));
  OK(chmod(run.Path("d").c_str(), 02777));
  for (const Maker& maker : Makers()) {
    const std::string path = run.Path("d/" + std::string(maker.name));
    run.As(kAlice, [&] { OK(maker.make(path, 0755)); });
    SAME(run.Stat(path).st_gid, gid_t{4711});
    SAME(run.Mode(path), maker.type == S_IFDIR ? mode_t{02755} : mode_t{0755});
  }
}

// Who is not in that group cannot make a program that runs with its rights.
POSIX_CHECK(create, NoSetgidProgramOfAGroupOfOthers) {
  OK(chown(run.MakeDirectory("d").c_str(), 0, 4711));
  OK(chmod(run.Path("d").c_str(), 02777));
  run.As(kAlice, [&] { OK(MakeRegular(run.Path("d/x"), 02755)); });
  SAME(run.Mode(run.Path("d/x")), mode_t{0755});
}

POSIX_CHECK(create, TimesOfItAndOfItsDirectory) {
  run.MakeDirectory("d");
  for (const Maker& maker : Makers()) {
    const std::string path = run.Path("d/" + std::string(maker.name));
    SAME(run.TimesChangedBy(run.Path("d"), [&] { OK(maker.make(path, 0644)); }), kMtime | kCtime);
    const struct stat made = run.Stat(path);
    const struct stat dir = run.Stat(run.Path("d"));
    THAT(made.st_mtim.tv_sec == made.st_ctim.tv_sec &&
         made.st_mtim.tv_nsec == made.st_ctim.tv_nsec);
    THAT(made.st_atim.tv_sec == made.st_ctim.tv_sec &&
         made.st_atim.tv_nsec == made.st_ctim.tv_nsec);
    THAT(dir.st_ctim.tv_sec >= made.st_ctim.tv_sec);
    SAME(run.TimesChangedBy(run.Path("d"), [&] { FAILS(EEXIST, maker.make(path, 0644)); }),
         kNoTime);
  }
  SAME(run.TimesChangedBy(run.Path("d"), [&] { OK(symlink("x", run.Path("d/l").c_str())); }),
       kMtime | kCtime);
}

POSIX_CHECK(create, LinkCounts) {
  const std::string dir = run.MakeDirectory("d");
  SAME(run.Stat(dir).st_nlink, nlink_t{2});
  OK(mkdir(run.Path("d/1").c_str(), 0755));
  OK(mkdir(run.Path("d/2").c_str(), 0755));
  SAME(run.Stat(dir).st_nlink, nlink_t{4});
  for (const Maker& maker : Makers()) {
    if (maker.type == S_IFDIR) continue;
    OK(maker.make(run.Path("d/x"), 0644));
    SAME(run.Stat(run.Path("d/x")).st_nlink, nlink_t{1});
    SAME(run.Stat(dir).st_nlink, nlink_t{4});
    OK(unlink(run.Path("d/x").c_str()));
  }
}

POSIX_CHECK(create, DevicesKeepTheirNumbers) {
  for (const dev_t device : {makedev(1, 3), makedev(255, 255), makedev(4095, 1048575)}) {
    for (const mode_t type : {S_IFCHR, S_IFBLK}) {
      OK(mknod(run.Path("x").c_str(), type | 0640, device));
      SAME(run.Stat(run.Path("x")).st_rdev, device);
      SAME(run.Stat(run.Path("x")).st_mode, static_cast<mode_t>(type | 0640));
      OK(unlink(run.Path("x").c_str()));
    }
  }
}

POSIX_CHECK(create, DevicesAreMadeByRootOnly) {
  run.As(kAlice, [&] {
    FAILS(EPERM, mknod(run.Path("x").c_str(), S_IFCHR | 0600, makedev(1, 3)));
    FAILS(EPERM, mknod(run.Path("x").c_str(), S_IFBLK | 0600, makedev(1, 3)));
    OK(mknod(run.Path("fifo").c_str(), S_IFIFO | 0600, 0));
    OK(mknod(run.Path("file").c_str(), S_IFREG | 0600, 0));
  });
  FAILS(EPERM, mknod(run.Path("x").c_str(), S_IFDIR | 0755, 0));
  FAILS(EINVAL, mknod(run.Path("x").c_str(), S_IFLNK | 0755, 0));
}

POSIX_CHECK(create, SymlinksHoldAnyTarget) {
  for (const size_t length : {size_t{1}, size_t{59}, size_t{60}, size_t{255}, size_t{4095}}) {
    const std::string target(length, 't');
    OK(symlink(target.c_str(), run.Path("x").c_str()));
    char buffer[5000];
    SAME(readlink(run.Path("x").c_str(), buffer, sizeof(buffer)), static_cast<ssize_t>(length));
    SAME(std::string(buffer, length), target);
    SAME(readlink(run.Path("x").c_str(), buffer, 1), ssize_t{1});
    SAME(run.Stat(run.Path("x")).st_size, static_cast<off_t>(length));
    SAME(run.Stat(run.Path("x")).st_mode, mode_t{S_IFLNK | 0777});
    OK(unlink(run.Path("x").c_str()));
  }
  FAILS(ENAMETOOLONG, symlink(std::string(4096, 't').c_str(), run.Path("x").c_str()));
  FAILS(ENOENT, symlink("", run.Path("x").c_str()));
  char buffer[10];
  FAILS(EINVAL, readlink(run.MakeFile("file").c_str(), buffer, sizeof(buffer)));
  FAILS(EINVAL, readlink(run.directory().c_str(), buffer, sizeof(buffer)));
}

POSIX_CHECK(create, SocketsAreBoundAndReached) {
  OK(chdir(run.directory().c_str()));  // a socket's path has at most 108 bytes
  sockaddr_un address{AF_UNIX, "socket"};
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FAILS(ENOENT, connect(client, name, sizeof(address)));
  OK(bind(server, name, sizeof(address)));
  THAT(S_ISSOCK(run.Stat("socket").st_mode));
  OK(listen(server, 1));
  OK(connect(client, name, sizeof(address)));
  SAME(OpenError("socket", O_RDWR), ENXIO);
  const int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FAILS(EADDRINUSE, bind(other, name, sizeof(address)));
  for (const int fd : {server, client, other}) close(fd);
  OK(chdir("/"));
}

POSIX_CHECK(create, FifosCarryBytesBetweenProcesses) {
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  SAME(OpenError(run.Path("fifo"), O_WRONLY | O_NONBLOCK), ENXIO);
  const auto child = run.Start([&] {
    const Fd out(run.Path("fifo"), O_WRONLY);
    SAME(write(out, "bytes", 5), ssize_t{5});
  });
  SAME(run.Contents(run.Path("fifo")), "bytes");
  run.Wait(child);
  SAME(run.Stat(run.Path("fifo")).st_size, off_t{0});
}

}  // namespace rw::testing
