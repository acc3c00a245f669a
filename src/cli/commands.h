// One function a group of commands, each in a file of its own. A command ends through finish() (run.h).
#pragma once

#include <memory>

namespace CLI {
class App;
}

namespace ocicat::cli {

// The whole tree of commands.
std::unique_ptr<CLI::App> make_app();

void add_server_command(CLI::App& app);
void add_agent_command(CLI::App& app);
void add_write_commands(CLI::App& app);  // apply, create, replace
void add_delete_command(CLI::App& app);
void add_get_command(CLI::App& app);
void add_label_command(CLI::App& app);
void add_status_command(CLI::App& app);
void add_node_command(CLI::App& app);  // node status
void add_routes_command(CLI::App& app);
void add_flows_commands(CLI::App& app);  // flows, drops
void add_bpf_command(CLI::App& app);     // bpf connections, counters, …
void add_explain_command(CLI::App& app);
void add_matrix_command(CLI::App& app);
void add_verify_command(CLI::App& app);
void add_policy_command(CLI::App& app);  // policy diff
void add_ipam_command(CLI::App& app);    // ipam show, check, release, configure, split
void add_about_commands(CLI::App& app);  // version, api-kinds
void add_completion_command(CLI::App& app);

}  // namespace ocicat::cli
