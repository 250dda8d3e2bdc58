// A bounded map that forgets what was not used for longest. Not thread-safe.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <utility>

namespace rw {

template <typename Key, typename Value>
class LruCache {
 public:
  explicit LruCache(size_t max_cost) : max_cost_(max_cost) {}

  // Valid until the next Put or erase; nullptr if absent.
  Value* Find(const Key& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return nullptr;
    recent_.splice(recent_.begin(), recent_, found->second.recent);
    return &found->second.value;
  }

  void Put(const Key& key, Value value, size_t cost) {
    Erase(key);
    recent_.push_front(key);
    entries_.emplace(key, Entry{std::move(value), cost, recent_.begin()});
    cost_ += cost;
    while (cost_ > max_cost_ && entries_.size() > 1) Erase(Key(recent_.back()));
  }

  void Erase(const Key& key) {
    const auto found = entries_.find(key);
    if (found != entries_.end()) Erase(found);
  }

  void Clear() {
    entries_.clear();
    recent_.clear();
    cost_ = 0;
  }

  // Erases all keys in [from, to).
  void EraseRange(const Key& from, const Key& to) {
    for (auto it = entries_.lower_bound(from); it != entries_.end() && it->first < to;)
      it = Erase(it);
  }

 private:
  struct Entry {
    Value value;
    size_t cost;
    typename std::list<Key>::iterator recent;
  };
  using Map = std::map<Key, Entry>;

  typename Map::iterator Erase(typename Map::iterator it) {
    cost_ -= it->second.cost;
    recent_.erase(it->second.recent);
    return entries_.erase(it);
  }

  const size_t max_cost_;
  size_t cost_ = 0;
  Map entries_;
  std::list<Key> recent_;
};

}  // namespace rw
