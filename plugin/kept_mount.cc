#include "plugin/kept_mount.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace rw {
namespace {

using nlohmann::json;

KeptMount DecodeMount(const KeptEntry& entry) {
  const json value = json::parse(entry.value);
  KeptMount mount;
  mount.volume = value.at("volume").get<uint64_t>();
  mount.name = value.at("name").get<std::string>();
  if (value.contains("at")) mount.at = Instant{value.at("at").get<uint64_t>()};
  mount.mountpoint = entry.key;
  mount.source = value.at("source").get<std::string>();
  mount.device = value.at("device").get<std::string>();
  mount.counts = value.at("counts").get<std::map<std::string, int>>();
  mount.unanswered = value.at("unanswered").get<std::map<std::string, int>>();
  const auto init = value.at("init").get<std::vector<uint8_t>>();
  mount.remains.init.assign(init.begin(), init.end());
  mount.remains.device = entry.descriptors.at(0);
  mount.remains.board = entry.descriptors.at(1);
  return mount;
}

}  // namespace

KeptEntry EncodeMount(const KeptMount& mount, bool with_descriptors) {
  json value = {
      {"volume", mount.volume},
      {"name", mount.name},
      {"source", mount.source},
      {"device", mount.device},
      {"counts", mount.counts},
      {"unanswered", mount.unanswered},
      {"init", std::vector<uint8_t>(mount.remains.init.begin(), mount.remains.init.end())}};
  if (mount.at) value["at"] = mount.at->ns;
  KeptEntry entry{mount.mountpoint, value.dump(), {}};
  if (with_descriptors) entry.descriptors = {mount.remains.device, mount.remains.board};
  return entry;
}

std::string KeyOfView(const std::string& mountpoint, uint64_t slot) {
  return mountpoint + kKeyOfView + std::to_string(slot);
}

KeptEntry EncodeView(const std::string& mountpoint, uint64_t slot, Instant at) {
  return {KeyOfView(mountpoint, slot), std::to_string(at.ns), {}};
}

std::vector<std::string> DecodeRemovals(const std::vector<KeptEntry>& entries) {
  std::vector<std::string> names;
  for (const KeptEntry& entry : entries) {
    if (entry.key.starts_with(kKeyOfRemoval)) names.push_back(entry.value);
  }
  return names;
}

std::string DecodeFailedUpgrade(const std::vector<KeptEntry>& entries) {
  for (const KeptEntry& entry : entries) {
    if (entry.key == kKeyOfFailedUpgrade) return entry.value;
  }
  return "";
}

std::vector<KeptMount> DecodeMounts(const std::vector<KeptEntry>& entries) {
  std::map<std::string, KeptMount> mounts;
  for (const KeptEntry& entry : entries) {
    if (entry.descriptors.empty()) continue;
    try {
      mounts[entry.key] = DecodeMount(entry);
    } catch (const std::exception& error) {
      spdlog::error("cannot go on with the mount at {}: {}", entry.key, error.what());
      for (const int descriptor : entry.descriptors) close(descriptor);
    }
  }
  for (const KeptEntry& entry : entries) {
    const size_t mark = entry.key.rfind(kKeyOfView);
    if (!entry.descriptors.empty() || mark == entry.key.npos) continue;
    const auto mount = mounts.find(entry.key.substr(0, mark));
    if (mount == mounts.end()) continue;
    mount->second.remains.views[std::stoull(entry.key.substr(mark + 1))] =
        Instant{std::stoull(entry.value)};
  }
  std::vector<KeptMount> list;
  list.reserve(mounts.size());
  for (auto& [mountpoint, mount] : mounts) list.push_back(std::move(mount));
  return list;
}

}  // namespace rw
