# A static image: the binary, the machine's certificate authorities, and nothing else. `make image` builds it; no registry is
# asked. It runs as nobody, and its root may be read-only: what a pipeline writes goes to folders that are mounted.
FROM scratch
COPY milepost /milepost
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/milepost", "health"]
ENTRYPOINT ["/milepost"]
CMD ["worker", "--metrics", "0.0.0.0:9464"]
