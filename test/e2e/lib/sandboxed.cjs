// A processor that runs in a process of its own.
module.exports = async (job) => {
  await job.updateProgress(50);
  await job.log("from the sandbox");
  if (job.data.fail) throw new Error("sandbox says no");
  return { pid: process.pid, sum: job.data.a + job.data.b };
};
