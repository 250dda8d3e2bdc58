// Listing directories, and what the filesystem as a whole tells.
#include <dirent.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <new>
#include <set>

#include "tests/posix/check.h"

namespace rw::testing {
namespace {

constexpr int kStable = 300;

void MakeStable(CheckRun& run) {
  for (int i = 0; i < kStable; ++i) run.MakeFile("stable" + std::to_string(i));
}

// Reads with a small buffer, so that a walk is many calls; how often each name was seen.
std::map<std::string, int> Walk(const std::string& path) {
  std::map<std::string, int> seen;
  const Fd fd(path, O_RDONLY | O_DIRECTORY);
  alignas(8) char buffer[1024];
  for (long count; (count = syscall(SYS_getdents64, int{fd}, buffer, sizeof(buffer))) > 0;) {
    for (long at = 0; at < count;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      ++seen[entry->d_name];
      at += entry->d_reclen;
    }
  }
  return seen;
}

}  // namespace

POSIX_CHECK(readdir, TypesInodesAndDots) {
  run.MakeFile("file");
  run.MakeDirectory("directory");
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  OK(symlink("x", run.Path("symlink").c_str()));
  OK(mknod(run.Path("block").c_str(), S_IFBLK | 0600, 0x103));
  OK(mknod(run.Path("socket").c_str(), S_IFSOCK | 0600, 0));
  DIR* dir = opendir(run.directory().c_str());
  std::set<std::string> seen;
  while (const dirent* entry = readdir(dir)) {
    const std::string name = entry->d_name;
    THAT(seen.insert(name).second);
    const struct stat st = run.Stat(run.Path(name));
    SAME(int{entry->d_type}, int{IFTODT(st.st_mode)});
    if (name != "..") SAME(entry->d_ino, st.st_ino);
  }
  closedir(dir);
  SAME(seen.size(), size_t{8});
  THAT(seen.contains(".") && seen.contains(".."));
}

POSIX_CHECK(readdir, NothingIsLostOrRepeatedWhileOthersComeAndGo) {
  MakeStable(run);
  auto* stop = new (mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
      std::atomic<bool>(false);
  const auto child = run.Start([&] {
    for (int i = 0; !*stop; i = (i + 1) % 200) {
      const std::string name = run.Path("passing" + std::to_string(i));
      const std::string other = run.Path("renamed" + std::to_string(i));
      if (OpenError(name, O_CREAT | O_WRONLY) != 0) return run.Fail(__FILE__, __LINE__, "create");
      OK(rename(name.c_str(), other.c_str()));
      if (i % 3 != 0) OK(unlink(other.c_str()));
    }
  });
  for (int round = 0; round < 10; ++round) {
    const auto seen = Walk(run.directory());
    for (int i = 0; i < kStable; ++i) {
      const std::string name = "stable" + std::to_string(i);
      const auto found = seen.find(name);
      SAME(found == seen.end() ? 0 : found->second, 1);
    }
  }
  *stop = true;
  run.Wait(child);
  munmap(stop, 4096);
}

POSIX_CHECK(readdir, RemovingWhatIsListedSkipsNothing) {
  MakeStable(run);
  DIR* dir = opendir(run.directory().c_str());
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') OK(unlink(run.Path(entry->d_name).c_str()));
  }
  closedir(dir);
  THAT(run.Names(run.directory()).empty());
}

POSIX_CHECK(readdir, PlacesAreFoundAgain) {
  MakeStable(run);
  DIR* dir = opendir(run.directory().c_str());
  std::vector<std::pair<long, std::string>> places;
  for (long at = telldir(dir); const dirent* entry = readdir(dir); at = telldir(dir))
    places.emplace_back(at, entry->d_name);
  SAME(places.size(), size_t{kStable + 2});
  for (size_t i = places.size(); i > 0; i = i > 7 ? i - 7 : 0) {
    seekdir(dir, places[i - 1].first);
    const dirent* entry = readdir(dir);
    SAME(std::string(entry != nullptr ? entry->d_name : ""), places[i - 1].second);
  }
  // Also from another descriptor, and when what lay before is gone.
  for (size_t i = 0; i < 150; ++i) {
    if (places[i].second.front() != '.') OK(unlink(run.Path(places[i].second).c_str()));
  }
  seekdir(dir, places[200].first);
  const dirent* entry = readdir(dir);
  SAME(std::string(entry != nullptr ? entry->d_name : ""), places[200].second);
  run.MakeFile("new");
  rewinddir(dir);
  bool found = false;
  while ((entry = readdir(dir)) != nullptr) found |= std::string(entry->d_name) == "new";
  THAT(found);
  closedir(dir);
}

POSIX_CHECK(statfs, MakesSense) {
  run.MakeFile("file");
  struct statvfs st;
  for (const std::string& path : {run.directory(), run.Path("file")}) {
    OK(statvfs(path.c_str(), &st));
    SAME(st.f_namemax, 255UL);
    THAT(st.f_bsize >= 512 && st.f_frsize >= 512);
    THAT(st.f_blocks > 0 && st.f_bfree <= st.f_blocks && st.f_bavail <= st.f_bfree);
    THAT(st.f_bavail * st.f_frsize > 1 << 20);
    THAT(st.f_files > 0 && st.f_ffree <= st.f_files && st.f_favail > 0);
  }
  SAME(pathconf(run.directory().c_str(), _PC_NAME_MAX), 255L);
  THAT(pathconf(run.directory().c_str(), _PC_LINK_MAX) > 1);
}

POSIX_CHECK(sync, AllWaysAreAccepted) {
  const std::string path = run.MakeFile("file", "data");
  const Fd fd(path, O_RDWR);
  const Fd read_only(path, O_RDONLY);
  const Fd dir(run.directory(), O_RDONLY);
  for (const int one : {int{fd}, int{read_only}, int{dir}}) {
    OK(fsync(one));
    OK(fdatasync(one));
    OK(syncfs(one));
  }
  OK(sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
  const Fd synchronous(path, O_WRONLY | O_SYNC);
  SAME(write(synchronous, "more", 4), ssize_t{4});
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  FAILS(EINVAL, fsync(Fd(run.Path("fifo"), O_RDWR)));
  SAME(run.Contents(path), "more");
}

POSIX_CHECK(inotify, TellsWhatOthersDo) {
  const int watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  THAT(inotify_add_watch(
           watcher, run.directory().c_str(),
           IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_MOVE | IN_DELETE | IN_CLOSE_WRITE) >= 0);
  run.InChild([&] {
    {
      const Fd fd(run.Path("a"), O_CREAT | O_WRONLY);
      SAME(write(fd, "x", 1), ssize_t{1});
    }
    OK(chmod(run.Path("a").c_str(), 0600));
    OK(rename(run.Path("a").c_str(), run.Path("b").c_str()));
    OK(mkdir(run.Path("d").c_str(), 0755));
    OK(unlink(run.Path("b").c_str()));
  });
  std::string events;
  alignas(inotify_event) char buffer[4096];
  const ssize_t size = read(watcher, buffer, sizeof(buffer));
  for (ssize_t at = 0; at < size;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
    std::ostringstream out;
    out << std::hex << (event->mask & IN_ALL_EVENTS) << event->name << " ";
    events += out.str();
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
  }
  close(watcher);
  SAME(events, "100a 2a 8a 4a 40a 80b 100d 200b ");
}

}  // namespace rw::testing
