// Goal: the manual's tables say what the code does.
// Method: compares the rows of README.md's tables, and the managed plugin's configuration, with the
// tables that drive the code.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "plugin/options.h"
#include "plugin/settings.h"
#include "tests/support/process.h"

namespace rw {
namespace {

// The rows of the tables under a heading of the second level, without their header lines.
std::vector<std::string> TableRowsUnder(const std::string& heading) {
  std::ifstream readme(REWIND_SOURCE_DIR "/README.md");
  std::vector<std::string> rows;
  bool inside = false;
  bool in_body = false;
  for (std::string line; std::getline(readme, line);) {
    // A subsection has tables of its own.
    if (line.starts_with("##")) inside = line == "## " + heading;
    bool is_row = inside && line.starts_with("|");
    if (!is_row) {
      in_body = false;
    } else if (line.starts_with("|-") || line.starts_with("| -") || line.starts_with("|:")) {
      in_body = true;
    } else if (in_body) {
      rows.push_back(line);
    }
  }
  return rows;
}

// Everything in `text` that matches.
std::set<std::string> FindAll(const std::string& text, const std::regex& pattern) {
  std::set<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match) {
    found.insert((*match)[1]);
  }
  return found;
}

TEST(ReadmeTest, VolumeOptionsAreThoseOfTheCode) {
  // `name` or `name=ARGUMENT` in the first column.
  const std::regex first_column(R"(^\|\s*`([a-z-]+)(=[^`]*)?`\s*\|)");
  std::vector<std::string> documented;
  for (const std::string& row : TableRowsUnder("Volume options")) {
    std::smatch match;
    ASSERT_TRUE(std::regex_search(row, match, first_column)) << row;
    documented.push_back(match[1]);
  }
  std::vector<std::string> in_code;
  for (const VolumeOption& option : VolumeOptions()) in_code.push_back(option.name);
  EXPECT_EQ(documented, in_code);
}

TEST(ReadmeTest, SettingsAreThoseOfTheCode) {
  std::string table;
  for (const std::string& row : TableRowsUnder("Settings")) table += row + "\n";
  std::set<std::string> flags, variables;
  for (const Setting& setting : kSettings) {
    flags.insert(setting.flag);
    variables.insert(setting.environment);
    EXPECT_NE(table.find(setting.default_value), std::string::npos)
        << setting.flag << ": its default " << setting.default_value << " is not in the table";
  }
  EXPECT_EQ(FindAll(table, std::regex("`(--[a-z-]+)")), flags);
  EXPECT_EQ(FindAll(table, std::regex("`(REWIND_[A-Z_]+)")), variables);
}

TEST(ReadmeTest, CommandsAreThoseOfTheCode) {
  std::string table;
  for (const std::string& row : TableRowsUnder("Command line")) {
    table += row.substr(0, row.find('|', 1)) + "\n";
  }
  const std::string help = testing::Run({REWIND_BINARY, "--help"}).out;
  const std::string commands = help.substr(help.find("Subcommands:"));
  EXPECT_EQ(FindAll(table, std::regex("`rewind ([a-z-]+)")),
            FindAll(commands, std::regex("\n  ([a-z-]+) ")));
}

TEST(ReadmeTest, SettingsOfTheManagedPluginAreThoseOfTheCode) {
  std::ifstream file(REWIND_SOURCE_DIR "/plugin-config/config.json");
  std::map<std::string, std::string> values;
  const nlohmann::json config = nlohmann::json::parse(file);
  for (const auto& entry : config.at("env")) {
    EXPECT_EQ(entry.at("settable"), nlohmann::json::array({"value"})) << entry;
    values[entry.at("name")] = entry.at("value");
  }
  EXPECT_EQ(values.size(), std::size(kSettings));
  for (const Setting& setting : kSettings) {
    // Where the engine takes mounts from in a plugin differs.
    if (setting.value == &ServeSettings::mounts) continue;
    EXPECT_EQ(values[setting.environment], setting.default_value) << setting.environment;
  }
}

}  // namespace
}  // namespace rw
