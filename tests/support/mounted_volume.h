// A volume mounted on a directory of its own, for as long as the object lives.
#pragma once

#include <memory>
#include <string>

#include "fs/session.h"
#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/time_text.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {

class MountedVolume {
 public:
  // `store` must outlive the object. Throws Refused as Session::Mount does.
  MountedVolume(Store& store, const std::string& name) : MountedVolume(store, name, kInstantMax) {}
  // The volume as it was at `at`.
  MountedVolume(Store& store, const std::string& name, Instant at,
                unsigned long flags = kDefaultMountFlags) {
    auto volume = at == kInstantMax ? store.OpenVolume(name) : store.OpenAt(name, at);
    SessionOptions options;
    options.mountpoint = dir_.path();
    options.source = "rewind:" + name;
    options.flags = flags;
    options.make_room = [&store] { return store.MakeRoom(); };
    options.open_at = [&store, name](std::string_view time) {
      return store.OpenAt(name, ParseTime(time, store.Now()));
    };
    session_ = Session::Mount(std::move(volume), std::move(options));
  }

  std::string path() const { return dir_.path(); }
  Session& session() { return *session_; }

 private:
  TempDir dir_;
  std::unique_ptr<Session> session_;  // goes first, or the directory could not be removed
};

}  // namespace rw::testing
