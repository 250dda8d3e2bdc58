// Events in lines that people read: what many operations did to one file is one line.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "fs/event_paths.h"
#include "fs/events.h"

namespace rw {

struct LogLine {
  Instant at, until;  // of the first and the last operation
  std::string event;  // made, create, write, truncate, allocate, zero, copy, attributes, setxattr,
                      // removexattr, link, rename, exchange, remove, rmdir, sync, mount, unmount,
                      // mark, rollback
  std::string path;   // empty: of the volume
  std::string to;     // the new one, of rename, exchange and link
  std::string detail;
  uint64_t count = 1;
  uint64_t bytes = 0;  // that were written, zeroed, copied
  uint64_t size = 0;   // of the file thereafter
  bool has_size = false;
  // Of bytes that were changed: from and to, in increasing order; of many, the gaps that are
  // smallest are left out.
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  bool by_somebody = false;  // then:
  uint32_t uid = 0, pid = 0;
  std::shared_ptr<const Writer> writer;  // null: not known
};

// Operations of the same kind on one file by one process within a second are one line, unless
// something else is done to the file between them. Lines come in the order of their first
// operations. Not thread-safe.
class EventLog {
 public:
  using Sink = std::function<void(const LogLine&)>;
  EventLog(Store* store, const std::string& volume, Sink sink)
      : paths_(store, volume), sink_(std::move(sink)) {}

  void Begin(const EventsBegin& begin);
  // Of operations before the first: who the writers are.
  void Know(const std::shared_ptr<const Writer>& writer);
  // Those that were known last, for a log that goes on where this one ended.
  std::vector<std::shared_ptr<const Writer>> LastWriters() const;
  void Add(const Event& event);
  // The last lines, with what else happened up to `until`.
  void End(Instant until);

  size_t lines() const { return lines_; }  // begun or done

 private:
  using Key = std::tuple<Ino, std::string, uint32_t>;  // inode, event, thread
  struct Group {
    LogLine line;
    Key key;
    bool open = false;
  };

  void AddOthers(Instant before);
  void AddSync(const Event& event);
  LogLine LineOf(const Event& event, Ino* file);
  void Put(LogLine line, Ino file, bool grows);
  void CloseGroupsOf(const Event& event, const Key& but);
  void CloseOld(Instant now);
  void CloseAll();
  void Emit();
  static void AddRange(LogLine* line, uint64_t from, uint64_t to);

  EventPaths paths_;
  const Sink sink_;
  struct KnownWriter {
    std::shared_ptr<const Writer> writer;
    uint64_t used = 0;  // when, in operations
  };
  std::unordered_map<uint32_t, KnownWriter> writers_;
  uint64_t operations_ = 0;
  std::vector<LogLine> others_;  // marks and rollbacks that are still to come
  size_t next_other_ = 0;
  Instant last_;
  std::list<Group> groups_;  // not given to the sink yet
  std::map<Key, std::list<Group>::iterator> open_;
  size_t lines_ = 0;
};

}  // namespace rw
