// Logs: plain text on stderr.
#pragma once

#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ocicat::cli {

// --log-level, for the commands that stay.
CLI::Option* add_log_option(CLI::App& command, std::string& level);
// "trace", "debug", "info", "warn", "error", "off". Each line begins with time, level and `who`.
void start_logging(const std::string& level, const std::string& who);

}  // namespace ocicat::cli
