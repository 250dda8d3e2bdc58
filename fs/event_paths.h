// Paths of inodes while events go by. Records name inodes; who is in which directory is known from
// events that name it, and else from a walk through the volume as it was.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/events.h"

namespace rw {

class Store;

// Not thread-safe. Bounded: of a volume with more names than kMaxNames not all are held, and what
// walks it takes is limited as well; what is not found then is shown by its number.
class EventPaths {
 public:
  static constexpr size_t kMaxNames = 200'000;

  EventPaths(Store* store, std::string volume) : store_(store), volume_(std::move(volume)) {}

  // To be called with each event in turn, after its paths were asked for.
  void Apply(const Event& event);

  // The path of an inode just before the event, from "/": one of several; the last one if it has
  // none any more, with " (deleted)"; "#" and the number if none is known.
  std::string PathOf(Ino ino, const Event& event);
  std::string PathOf(Ino parent, std::string_view name, const Event& event);

 private:
  struct Name {
    Ino parent = 0;
    std::string name;
    friend auto operator<=>(const Name&, const Name&) = default;
  };
  struct Known {
    std::vector<Name> names;
    std::string last_path;  // once there are no names
  };

  static void Insert(std::vector<Name>* names, const Name& name);
  void Clear();
  bool Find(Ino ino, std::string* path);
  void Walk(Ino wanted, Instant at);

  Store* const store_;
  const std::string volume_;
  TimelineId timeline_ = 0;
  std::unordered_map<Ino, Known> known_;
  bool all_ = false;  // what is not known has no name
  uint64_t walked_ns_ = 0;
};

}  // namespace rw
