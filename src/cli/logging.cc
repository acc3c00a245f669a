#include "cli/logging.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>

namespace ocicat::cli {

CLI::Option* add_log_option(CLI::App& command, std::string& level) {
  return command.add_option("--log-level", level, "trace, debug, info, warn, error or off")
      ->capture_default_str()
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));
}

void start_logging(const std::string& level, const std::string& who) {
  auto logger = spdlog::stderr_logger_mt(who);
  logger->set_pattern(fmt::format("%Y-%m-%dT%H:%M:%S.%eZ %l {}: %v", who), spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace ocicat::cli
