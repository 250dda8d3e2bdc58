// The commands about volumes. Each prints what the daemon answers and throws Refused.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace rw {

// What `key=value` texts say, as a JSON object; `key` alone, unless a value is needed, has an empty
// one. Throws Refused(EINVAL) for a key that is given twice.
nlohmann::json KeysAndValues(const std::vector<std::string>& texts, bool value_needed = false);

// `options` are `key=value`, or `key` alone.
void CreateCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::vector<std::string>& options);
void ListCommand(const std::filesystem::path& socket, bool json);
void InspectCommand(const std::filesystem::path& socket, const std::string& name, bool json);
void NowCommand(const std::filesystem::path& socket, const std::string& name, bool json);
void MetricsCommand(const std::filesystem::path& socket);

}  // namespace rw
