// How the command line shows what the daemon answered.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace rw {

// Lists with commas, objects as `key=value`, true and false as yes and no.
std::string ToText(const nlohmann::json& value);

// In columns as wide as their widest cell.
void PrintTable(const std::vector<std::vector<std::string>>& rows);

// One row for each of `keys` that the object has; `history_from` is shown as "history from".
void PrintFields(const nlohmann::json& object, const std::vector<std::string>& keys);

// With two spaces of indentation.
void PrintJson(const nlohmann::json& value);

}  // namespace rw
