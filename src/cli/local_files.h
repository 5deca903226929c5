#pragma once

#include <optional>
#include <string>

#include "config/options.h"

namespace weir::cli {

/// The directory of the local cluster:
///
///   lock            held (flock) by `weir local` as long as the cluster stands
///   cluster.json    where it can be found: written when it is ready, gone when it stops
///   jobmanager.json where its JobManager listens: written by that when it leads (ready_file.h)
///   jobmanager/     metadata, job libraries, checkpoints
///   taskmanagers/   one directory for each TaskManager
///   broker/         of `weir local --broker`: the topics, settings and log of the broker
///   logs/           one file for each process
struct LocalFiles {
  std::string dir;
  std::string Lock() const { return dir + "/lock"; }
  std::string Cluster() const { return dir + "/cluster.json"; }
  std::string Ready() const { return dir + "/jobmanager.json"; }
  std::string JobManager() const { return dir + "/jobmanager"; }
  std::string TaskManagers() const { return dir + "/taskmanagers"; }
  std::string Broker() const { return dir + "/broker"; }
  std::string Logs() const { return dir + "/logs"; }
};

/// local.dir, or ~/.weir/local.
LocalFiles LocalDirectory(const config::Options& options);

struct RunningCluster {
  int pid = 0;
  std::string address;
  std::string cluster_id;
};

/// A `weir local` has the directory now: its cluster runs, starts or stops.
bool IsTaken(const LocalFiles& files);

/// The cluster that runs in the directory now; nothing when none does, whatever a dead one left.
std::optional<RunningCluster> ReadRunningCluster(const LocalFiles& files);

/// ~/.weir, or /tmp/weir-UID for users without a home.
std::string HomeDirectory();

}  // namespace weir::cli
